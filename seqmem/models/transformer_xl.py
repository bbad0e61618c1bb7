"""Transformer-XL (Dai et al. 2019, arXiv 1901.02860)."""

from typing import ClassVar, Literal

import torch
from jaxtyping import Bool
from pydantic import Field, model_validator
from torch import Tensor, nn

from seqmem.layers.attention import RelativeTerms
from seqmem.layers.positions import sinusoid
from seqmem.models.segmented import SegmentedConfig, SegmentedState, SegmentedTransformer
from seqmem.ops import Band, Ops


class TransformerXLConfig(SegmentedConfig):
    """Configuration of :class:`TransformerXL`; ``mem_len``, ``same_length`` and ``clamp_len`` change no weight."""

    mem_len: int = Field(ge=0, description="slots of memory in every layer")
    same_length: bool = Field(False, description="every token sees exactly mem_len keys, itself included")
    clamp_len: int = Field(-1, ge=-1, description="distances beyond share this one's encoding; -1 for none")
    untie_uv: bool = Field(False, description="u and v of every layer's own instead of shared")
    memory_init: Literal["empty", "zeros"] = Field(
        "empty", description="unfilled slots are off, or zeros that take part"
    )

    @model_validator(mode="after")
    def _same_length_needs_memory(self):
        if self.same_length and self.mem_len == 0:
            raise ValueError("same_length with mem_len = 0 leaves a token nothing to see; set mem_len")
        return self


class TransformerXL(SegmentedTransformer):
    """Segment-level recurrence with relative positions.

    ``A_ij = ((q_i + u) . k_j + (q_i + v) . W_r R_{i-j}) / sqrt(D)`` over [memory | segment], post-LN, embedding scaled
    by ``sqrt(d)``, sinusoid ``[sin | cos]`` with dropout, weights tied, as the authors' code has it. Our choices:
    memory starts empty (``memory_init = "zeros"`` gives what Hugging Face's port does), moves at multiples of
    ``segment_len`` whatever the calls, and pre-LN, an option here, ends with an LN.
    """

    Config: ClassVar = TransformerXLConfig
    SIZES: ClassVar[dict[str, dict]] = {
        "tiny": dict(
            vocab_size=256, num_layers=2, d_model=32, num_heads=2, head_dim=16, d_inner=64, segment_len=16, mem_len=16
        ),
        "small": dict(
            vocab_size=8192,
            num_layers=6,
            d_model=256,
            num_heads=4,
            head_dim=64,
            d_inner=1024,
            dropout=0.1,
            segment_len=256,
            mem_len=256,
        ),
        "enwik8-base": dict(
            vocab_size=205,
            num_layers=12,
            d_model=512,
            num_heads=8,
            head_dim=64,
            d_inner=2048,
            dropout=0.1,
            segment_len=512,
            mem_len=512,
        ),
        "enwik8-large": dict(
            vocab_size=205,
            num_layers=24,
            d_model=1024,
            num_heads=8,
            head_dim=128,
            d_inner=3072,
            dropout=0.15,
            attention_dropout=0.15,
            segment_len=768,
            mem_len=768,
        ),
        "wt103-base": dict(
            vocab_size=267735,
            num_layers=16,
            d_model=410,
            num_heads=10,
            head_dim=41,
            d_inner=2100,
            dropout=0.1,
            segment_len=150,
            mem_len=150,
            cutoffs=(20000, 40000, 200000),
        ),
        "wt103-large": dict(
            vocab_size=267735,
            num_layers=18,
            d_model=1024,
            num_heads=16,
            head_dim=64,
            d_inner=4096,
            dropout=0.2,
            attention_dropout=0.2,
            segment_len=384,
            mem_len=384,
            cutoffs=(20000, 40000, 200000),
            div_value=4.0,
        ),
    }

    config: TransformerXLConfig

    def __init__(self, config: TransformerXLConfig, ops: Ops):
        super().__init__(config, ops)
        self.mem_len = config.mem_len
        own = config.num_layers if config.untie_uv else 1
        self.u = nn.Parameter(torch.empty(own, config.num_heads, config.head_dim))
        self.v = nn.Parameter(torch.empty(own, config.num_heads, config.head_dim))
        width = config.num_heads * config.head_dim
        self.position_projections = nn.ModuleList(
            nn.Linear(config.d_model, width, bias=False) for _ in range(config.num_layers)
        )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        super().reset_parameters()
        nn.init.normal_(self.u, 0, self.config.init_std)
        nn.init.normal_(self.v, 0, self.config.init_std)

    def band(self, num_keys: int) -> Band:
        return Band(self.mem_len - 1 if self.config.same_length else num_keys - 1)

    def memory_valid(self, state: SegmentedState) -> Bool[Tensor, "B M"] | None:
        if self.mem_len == 0 or self.config.memory_init == "zeros":
            return None
        slot = torch.arange(self.mem_len, device=state.filled.device)
        return slot >= self.mem_len - state.filled[:, None]

    def relative_terms(self, num_keys: int, cached: tuple[Tensor, ...]) -> list[RelativeTerms | None]:
        num_columns = self.band(num_keys).num_columns
        if cached:
            projected = [r[r.shape[0] - num_columns :] for r in cached]
        else:
            precise = torch.promote_types(self.u.dtype, torch.float32)
            distance = torch.arange(num_columns - 1, -1, -1, dtype=precise, device=self.u.device)
            if self.config.clamp_len >= 0:
                distance = distance.clamp(max=self.config.clamp_len)
            encoding = self.dropout(sinusoid(distance, self.config.d_model).to(self.u.dtype))
            heads = (self.config.num_heads, self.config.head_dim)
            projected = [layer(encoding).unflatten(-1, heads) for layer in self.position_projections]
        own = len(self.u)
        return [RelativeTerms(r, self.u[i % own], self.v[i % own]) for i, r in enumerate(projected)]

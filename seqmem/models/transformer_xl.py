"""Transformer-XL (Dai et al. 2019, arXiv 1901.02860)."""

from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from jaxtyping import Bool, Int
from pydantic import Field, model_validator
from torch import Tensor, nn

from seqmem.layers.attention import RelativeTerms
from seqmem.layers.positions import sinusoid
from seqmem.models.base import ModelConfig
from seqmem.models.per_layer import Lengths, Ranges, per_layer, span
from seqmem.models.segmented import SegmentedTransformer
from seqmem.models.segmented_config import SegmentedConfig
from seqmem.ops import Band, Ops
from seqmem.state import newest


class TransformerXLConfig(SegmentedConfig):
    """Configuration of :class:`TransformerXL`; no length here changes any weight."""

    mem_len: Lengths = Field(description="slots of memory: of every layer, of each, or {long, short, layers}")
    attention_range: Ranges = Field(
        -1, description="keys a token sees at most, itself included, in every layer or in each; -1 for no limit"
    )
    same_length: bool = Field(False, description="every token sees exactly mem_len keys, itself included")
    clamp_len: int = Field(-1, ge=-1, description="distances beyond share this one's encoding; -1 for none")
    untie_uv: bool = Field(False, description="u and v of every layer's own instead of shared")
    memory_init: Literal["empty", "zeros"] = Field(
        "empty", description="unfilled slots are off, or zeros that take part"
    )
    bptt_segments: int = Field(1, gt=0, description="segments of a training call, through which gradients flow")

    @model_validator(mode="after")
    def _lengths_fit(self):
        shortest = min(per_layer(self.mem_len, self.num_layers, "mem_len"))
        per_layer(self.attention_range, self.num_layers, "attention_range")
        if self.same_length and self.attention_range != -1:
            raise ValueError("same_length and attention_range exclude each other; leave one out")
        if self.same_length and shortest == 0:
            raise ValueError("same_length with mem_len = 0 leaves a token nothing to see; set mem_len")
        return self

    @property
    def mem_lens(self) -> tuple[int, ...]:
        """Slots of memory of each layer."""
        return per_layer(self.mem_len, self.num_layers, "mem_len")

    @property
    def attention_ranges(self) -> tuple[int, ...]:
        """Keys a token sees at most in each layer; -1 for no limit."""
        if self.same_length:
            return self.mem_lens
        return per_layer(self.attention_range, self.num_layers, "attention_range")

    @property
    def unroll_len(self) -> int:
        return self.bptt_segments * self.segment_len

    @property
    def turnover(self) -> int:
        return super().turnover + max(self.mem_lens)

    @property
    def memory_note(self) -> str:
        return f"{span(self.mem_lens)} tokens of memory"


class TransformerXL(SegmentedTransformer):
    """Segment-level recurrence with relative positions.

    ``A_ij = ((q_i + u) . k_j + (q_i + v) . W_r R_{i-j}) / sqrt(D)`` over [memory | segment], post-LN, embedding scaled
    by ``sqrt(d)``, sinusoid ``[sin | cos]`` with dropout, weights tied, as the authors' code has it. Our choices:
    memory starts empty (``memory_init = "zeros"`` gives what Hugging Face's port does), moves at multiples of
    ``segment_len`` whatever the calls, and pre-LN, an option here, ends with an LN.

    Memory may be long in some layers and short in others, and lower layers may be limited to a short range (Rae and
    Razavi 2020, arXiv 2007.03356). On waveforms ``head = "logistic-mixture"`` is the alternative to the tied softmax;
    ``audio-40m`` has the layers, lengths and parameters of Rae et al. (2019, section 5.7), ``audio-cpu`` and
    ``bytes-cpu`` as many parameters as the other models' sizes of those names.
    """

    Config: ClassVar[type[ModelConfig]] = TransformerXLConfig
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
        "audio-40m": dict(
            vocab_size=256,
            num_layers=20,
            d_model=384,
            num_heads=6,
            head_dim=64,
            d_inner=1600,
            dropout=0.1,
            segment_len=768,
            mem_len=768,
        ),
        "audio-cpu": dict(
            vocab_size=256,
            num_layers=4,
            d_model=96,
            num_heads=3,
            head_dim=32,
            d_inner=288,
            segment_len=512,
            mem_len=512,
        ),
        "bytes-cpu": dict(
            vocab_size=257,
            num_layers=4,
            d_model=128,
            num_heads=4,
            head_dim=32,
            d_inner=640,
            pre_norm=True,
            segment_len=64,
            mem_len=192,
        ),
    }

    config: TransformerXLConfig

    def __init__(self, config: TransformerXLConfig, ops: Ops):
        super().__init__(config, ops)
        self.mem_lens, self.ranges = config.mem_lens, config.attention_ranges
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

    def parts(self, layer: int) -> dict[str, int]:
        return {"memory": self.mem_lens[layer]}

    def band(self, layer: int, num_keys: int) -> Band:
        limit = self.ranges[layer]
        return Band((num_keys if limit < 0 else min(limit, num_keys)) - 1)

    def slots_valid(self, layer: int, filled: Int[Tensor, "B"]) -> Bool[Tensor, "B M"] | None:
        mem_len = self.mem_lens[layer]
        if mem_len == 0 or self.config.memory_init == "zeros":
            return None
        return newest(filled, mem_len)

    def keeps_graph(self, position: int) -> bool:
        return position % self.config.unroll_len != 0

    def relative_terms(self, num_keys: Sequence[int], cached: tuple[Tensor, ...]) -> list[RelativeTerms]:
        num_columns = [self.band(layer, count).num_columns for layer, count in enumerate(num_keys)]
        projected = cached or self._projected_positions(num_columns)
        own = len(self.u)
        return [
            RelativeTerms(r[r.shape[0] - columns :], self.u[i % own], self.v[i % own])
            for i, (r, columns) in enumerate(zip(projected, num_columns, strict=True))
        ]

    def _projected_positions(self, num_columns: Sequence[int]) -> list[Tensor]:
        """``W_r R`` of each layer's distances, farthest first, ``[C, H, D]``."""
        precise = torch.promote_types(self.u.dtype, torch.float32)
        distance = torch.arange(max(num_columns) - 1, -1, -1, dtype=precise, device=self.u.device)
        if self.config.clamp_len >= 0:
            distance = distance.clamp(max=self.config.clamp_len)
        encoding = self.dropout(sinusoid(distance, self.config.d_model).to(self.u.dtype))
        heads = (self.config.num_heads, self.config.head_dim)
        layers = zip(self.position_projections, num_columns, strict=True)
        return [layer(encoding[len(encoding) - columns :]).unflatten(-1, heads) for layer, columns in layers]

"""Adaptive attention span (Sukhbaatar et al. 2019, arXiv 1905.07799)."""

from collections.abc import Iterator
from dataclasses import replace
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor, nn

from seqmem.layers.adaptive_span import AdaptiveSpanAttention
from seqmem.layers.feed_forward import feed_forward
from seqmem.layers.residual import MixerBlock
from seqmem.models.base import ModelConfig, Output
from seqmem.models.windowed import AttentiveConfig, WindowedTransformer
from seqmem.ops import Ops
from seqmem.state import State


class AdaptiveSpanConfig(AttentiveConfig):
    """Configuration of :class:`AdaptiveSpan`."""

    max_span: int = Field(gt=0, description="tokens before a token that a head may come to see")
    ramp: int = Field(32, gt=0, description="tokens over which a head's mask falls from 1 to 0")
    span_loss: float = Field(2e-6, ge=0, description="of a token of mean span in every layer")

    @property
    def turnover(self) -> int:
        return self.num_layers * self.max_span + 1 if self.carry else self.segment_len


class AdaptiveSpan(WindowedTransformer):
    """Every head learns its span, paying for its length; post-LN, ReLU.

    The extra loss is ``span_loss * max_span * mean z`` summed over layers, z as a share of ``max_span``, as the
    authors' code has it. Spans start at 0, where a head sees the ``ramp`` nearest tokens, and are put back into [0, 1]
    after every update.
    """

    Config: ClassVar[type[ModelConfig]] = AdaptiveSpanConfig
    # Published: the small and the large model of enwik8 and text8, and the sizes of the authors' single-GPU script.
    SIZES: ClassVar[dict[str, dict]] = {
        "tiny": dict(
            vocab_size=256,
            num_layers=2,
            d_model=32,
            num_heads=2,
            head_dim=16,
            d_inner=64,
            segment_len=16,
            max_span=24,
            ramp=4,
        ),
        "enwik8-small": dict(
            vocab_size=205,
            num_layers=12,
            d_model=512,
            num_heads=8,
            head_dim=64,
            d_inner=2048,
            dropout=0.3,
            segment_len=512,
            max_span=8192,
        ),
        "enwik8-large": dict(
            vocab_size=205,
            num_layers=24,
            d_model=768,
            num_heads=8,
            head_dim=96,
            d_inner=4096,
            dropout=0.4,
            segment_len=512,
            max_span=8192,
            span_loss=5e-7,
        ),
        "enwik8-single-gpu": dict(
            vocab_size=205,
            num_layers=8,
            d_model=256,
            num_heads=4,
            head_dim=64,
            d_inner=1024,
            segment_len=256,
            max_span=1024,
        ),
        # Ours: as many parameters as the other models' size of that name.
        "bytes-cpu": dict(
            vocab_size=257,
            num_layers=4,
            d_model=128,
            num_heads=4,
            head_dim=32,
            d_inner=688,
            segment_len=256,
            max_span=256,
        ),
    }
    SIZES["text8-small"] = SIZES["enwik8-small"] | dict(vocab_size=27)
    SIZES["text8-large"] = SIZES["enwik8-large"] | dict(vocab_size=27)

    config: AdaptiveSpanConfig

    def __init__(self, config: AdaptiveSpanConfig, ops: Ops):
        super().__init__(config, ops)
        self.distances = nn.Parameter(torch.empty(config.max_span, config.head_dim))
        """p of the distances ``max_span`` ... 1."""
        self.reset_parameters()

    def reset_parameters(self) -> None:
        super().reset_parameters()
        nn.init.normal_(self.distances, 0, self.config.init_std)

    def block(self, layer: int) -> MixerBlock:
        c = self.config
        attention = AdaptiveSpanAttention(
            c.d_model, c.num_heads, c.head_dim, c.max_span, c.ramp, c.attention_dropout, self.ops
        )
        return MixerBlock(
            attention, feed_forward(c.d_model, c.d_inner, c.dropout), c.d_model, c.dropout, pre_norm=False
        )

    def relative(self, layer: int) -> Float[Tensor, "C H D"]:
        """p for every head, and zeros for the token itself, which no token sees."""
        return nn.functional.pad(self.distances, (0, 0, 0, 1))[:, None].expand(-1, self.config.num_heads, -1)

    def _attentions(self) -> Iterator[AdaptiveSpanAttention]:
        return (block.mixer for block in self._blocks())

    def spans(self) -> list[tuple[int, ...]]:
        """Tokens before a token that each head of each layer looks at now."""
        return [attention.spans() for attention in self._attentions()]

    @torch.no_grad()
    def constrain(self) -> None:
        for attention in self._attentions():
            attention.span.clamp_(0, 1)

    def forward(self, inputs: Int[Tensor, "B T"], state: State | None = None) -> Output:
        out = super().forward(inputs, state)
        shares = torch.stack([attention.span.mean() for attention in self._attentions()])
        return replace(out, losses={"span": self.config.span_loss * self.config.max_span * shares.sum()})

"""The Sparse Transformer (Child et al. 2019, arXiv 1904.10509)."""

from typing import ClassVar, Literal

import torch
from jaxtyping import Float, Int
from pydantic import Field, model_validator
from torch import Tensor, nn

from seqmem.layers.block_attention import BlockAttention, fixed_layout
from seqmem.layers.feed_forward import QuickGELU, feed_forward
from seqmem.layers.past_attention import PastAttention
from seqmem.layers.residual import MixerBlock
from seqmem.layers.strided_attention import StridedAttention
from seqmem.models.base import ModelConfig
from seqmem.models.windowed import ContextConfig, WindowedTransformer
from seqmem.ops import Ops


class SparseTransformerConfig(ContextConfig):
    """Configuration of :class:`SparseTransformer`; ``segment_len`` is its context."""

    pattern: Literal["fixed", "strided"] = Field("fixed", description="fixed for text, strided for images and sound")
    stride: int = Field(gt=0, description="tokens of a block, or between two that are seen far away")
    summary: int = Field(32, gt=0, description="tokens of a block that later ones see, in a fixed pattern")
    num_summaries: int = Field(1, gt=0, description="pieces of a block among which heads choose their summary")
    init_scale: float = Field(0.125, gt=0, description="weights start N(0, init_scale / sqrt(inputs))")

    @model_validator(mode="after")
    def _summaries_fit(self):
        if self.pattern == "fixed" and self.stride % self.summary:
            raise ValueError(f"stride = {self.stride} is not a multiple of summary = {self.summary}")
        if self.pattern == "fixed" and self.num_summaries * self.summary > self.stride:
            raise ValueError(f"{self.num_summaries} summaries of {self.summary} tokens in a stride of {self.stride}")
        return self


class SparseTransformer(WindowedTransformer):
    """Every token sees every earlier one, itself or through one in between, at a cost that grows as a square root.

    The parts of a pattern are merged: a softmax over their union. Pre-LN, ``x sigmoid(1.702 x)`` for GELU. Positions
    are learned, a vector for the row and one for the column of a matrix of ``stride`` columns. The vocabulary's matrix
    is shared with the softmax, the rest starts as published. The near part of a strided pattern has ``stride + 1``
    tokens in the paper's equation and ``stride`` in its code, which is followed here.
    """

    Config: ClassVar[type[ModelConfig]] = SparseTransformerConfig
    # Published: enwik8, and the layers, width, heads and context of raw audio at 12 kHz (152M), whose stride is ours.
    SIZES: ClassVar[dict[str, dict]] = {
        "tiny": dict(
            vocab_size=256,
            num_layers=2,
            d_model=32,
            num_heads=2,
            head_dim=16,
            d_inner=64,
            segment_len=32,
            stride=6,
            summary=2,
            num_summaries=2,
        ),
        "enwik8": dict(
            vocab_size=205,
            num_layers=30,
            d_model=512,
            num_heads=8,
            head_dim=64,
            d_inner=2048,
            dropout=0.4,
            segment_len=12288,
            stride=128,
            summary=32,
            num_summaries=4,
        ),
        # Ours: as many parameters as the other models' size of that name.
        "bytes-cpu": dict(
            vocab_size=257,
            num_layers=4,
            d_model=128,
            num_heads=4,
            head_dim=32,
            d_inner=704,
            segment_len=256,
            stride=64,
            summary=16,
            num_summaries=4,
        ),
    }

    config: SparseTransformerConfig

    def __init__(self, config: SparseTransformerConfig, ops: Ops):
        super().__init__(config, ops)
        self.rows = nn.Embedding(-(-config.segment_len // config.stride), config.d_model)
        self.columns = nn.Embedding(config.stride, config.d_model)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Weights N(0, s / sqrt(inputs)), those that end a branch divided by ``sqrt(2 layers)``; biases 0."""
        c = self.config
        super().reset_parameters()
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, 0, c.init_scale / module.in_features**0.5)
        for block in self._blocks():
            *_, outer = (layer for layer in block.feed_forward.modules() if isinstance(layer, nn.Linear))
            for last in (block.mixer.out, outer):
                last.weight.data /= (2 * c.num_layers) ** 0.5
        self.head.reset_parameters(c.init_scale / c.d_model**0.5)
        for positions in (self.rows, self.columns):
            nn.init.normal_(positions.weight, 0, c.init_scale / (2 * c.d_model) ** 0.5)

    def block(self, layer: int) -> MixerBlock:
        c = self.config
        heads, rest = (c.d_model, c.num_heads, c.head_dim), (c.attention_dropout, self.ops)
        attention: PastAttention
        if c.pattern == "fixed":
            num_pieces = -(-c.segment_len // c.summary)
            layout = fixed_layout(c.num_heads, c.stride // c.summary, c.num_summaries, num_pieces)
            attention = BlockAttention(*heads, layout, c.summary, *rest)
        else:
            attention = StridedAttention(*heads, c.stride, c.segment_len, *rest)
        return MixerBlock(
            attention, feed_forward(c.d_model, c.d_inner, c.dropout, QuickGELU), c.d_model, c.dropout, pre_norm=True
        )

    def embed(self, inputs: Int[Tensor, "B T"], position: int) -> Float[Tensor, "B T d"]:
        start = position % self.config.segment_len
        at = torch.arange(start, start + inputs.shape[1], device=inputs.device)
        return (
            super().embed(inputs, position)
            + self.rows(at // self.config.stride)
            + self.columns(at % self.config.stride)
        )

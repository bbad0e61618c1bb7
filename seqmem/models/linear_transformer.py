"""Transformers in linear time: by a kernel of their own (Katharopoulos et al. 2020), by random features (Performer)."""

from dataclasses import replace
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from pydantic import Field, model_validator
from torch import Tensor, nn

from seqmem.layers.features import EluFeatures, Features, RandomFeatures
from seqmem.layers.feed_forward import feed_forward
from seqmem.layers.kernel_attention import KernelAttention
from seqmem.layers.positions import sinusoid
from seqmem.models.base import ModelConfig, Output, split_at_borders
from seqmem.models.mixing import MixingBlock, MixingConfig, MixingState, MixingTransformer
from seqmem.state import State


class LinearTransformerConfig(MixingConfig):
    """Configuration of :class:`LinearTransformer`."""

    num_heads: int = Field(gt=0)
    carry: bool = Field(False, description="sums go on across segments; otherwise every segment begins empty")

    @model_validator(mode="after")
    def _heads_fit(self):
        if self.d_model % self.num_heads:
            raise ValueError(f"d_model = {self.d_model} is not a multiple of num_heads = {self.num_heads}")
        return self

    @property
    def memory_note(self) -> str:
        return "sums over all tokens" if self.carry else "nothing"


class PerformerConfig(LinearTransformerConfig):
    """Configuration of :class:`Performer`."""

    num_features: int = Field(256, gt=0, description="random features of a head")
    redraw_every: int = Field(1000, ge=0, description="training calls after which they are drawn anew; 0: never")


class LinearTransformer(MixingTransformer):
    """Attention by ``elu(x) + 1`` (arXiv 2006.16236), in blocks with pre-LN and GELU.

    Positions are sinusoids, counted from the start of a segment.
    """

    Config: ClassVar[type[ModelConfig]] = LinearTransformerConfig
    SIZES: ClassVar[dict[str, dict]] = {
        "tiny": dict(vocab_size=256, num_layers=2, d_model=32, num_heads=2, d_inner=64, segment_len=16),
        # Ours: as many parameters as the other models' size of that name.
        "bytes-cpu": dict(vocab_size=257, num_layers=4, d_model=128, num_heads=4, d_inner=704, segment_len=256),
    }

    config: LinearTransformerConfig

    def features(self) -> Features:
        """Features of a layer."""
        return EluFeatures(self.config.d_model // self.config.num_heads)

    def block(self, layer: int) -> MixingBlock:
        c = self.config
        attention = KernelAttention(c.d_model, c.num_heads, self.features(), self.ops)
        inner = feed_forward(c.d_model, c.d_inner, c.dropout, nn.GELU)
        return MixingBlock(attention, inner, nn.LayerNorm, c.d_model, c.dropout)

    def embed(self, inputs: Int[Tensor, "B T"], position: int) -> Float[Tensor, "B T d"]:
        like = self.head.weight
        at = torch.arange(position, position + inputs.shape[1], device=like.device) % self.config.segment_len
        precise = torch.promote_types(like.dtype, torch.float32)
        return super().embed(inputs, position) + sinusoid(at.to(precise), like.shape[1]).to(like.dtype)

    def forward(self, inputs: Int[Tensor, "B T"], state: State | None = None) -> Output:
        """Hidden states of the last layer ``[B, T, d]``, position t for token t + 1, and the state after the call."""
        state = self.init_state(len(inputs)) if state is None else state
        if self.config.carry:
            return super().forward(inputs, state)
        assert isinstance(state, MixingState)
        hidden, position = [], state.position
        for piece in split_at_borders(inputs, position, self.config.segment_len):
            out = super().forward(piece, state)
            hidden.append(out.hidden)
            position += piece.shape[1]
            at_border = position % self.config.segment_len == 0
            state = replace(self.init_state(len(inputs)), position=position) if at_border else out.state
        return Output(torch.cat(hidden, 1), state)


class Performer(LinearTransformer):
    """Softmax attention by random features, FAVOR+ (arXiv 2009.14794), causal to the bit; otherwise as its base.

    After a redraw, sums of the features before are dropped: memory begins anew.
    """

    Config: ClassVar[type[ModelConfig]] = PerformerConfig
    SIZES: ClassVar[dict[str, dict]] = {
        "tiny": LinearTransformer.SIZES["tiny"] | dict(num_features=24),
        "bytes-cpu": LinearTransformer.SIZES["bytes-cpu"] | dict(num_features=64),
    }

    config: PerformerConfig

    def features(self) -> Features:
        c = self.config
        return RandomFeatures(c.d_model // c.num_heads, c.num_features, c.redraw_every)

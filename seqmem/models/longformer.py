"""Longformer, the encoder (Beltagy et al. 2020, arXiv 2004.05150)."""

from typing import ClassVar

import torch
from jaxtyping import Bool, Float, Int
from pydantic import Field, model_validator
from torch import Tensor

from seqmem.layers.global_attention import GlobalTokens, GlobalWindowAttention
from seqmem.models.encoder import EncoderConfig
from seqmem.models.per_layer import Ranges, per_layer
from seqmem.models.post_norm_encoder import PostNormEncoder, PostNormEncoderConfig


class LongformerConfig(PostNormEncoderConfig):
    """Configuration of :class:`Longformer`; no window changes any weight."""

    window: Ranges = Field(description="neighbours on each side, in every layer or in each; half of attention_window")
    dilation: Ranges = Field(1, description="in every layer or in each; 1 for neighbours")

    @model_validator(mode="after")
    def _layers_fit(self):
        for name in ("window", "dilation"):
            if min(per_layer(getattr(self, name), self.num_layers, name)) < 1:
                raise ValueError(f"{name} has no limit in some layer; give positive numbers")
        return self


class Longformer(PostNormEncoder):
    """RoBERTa with windows instead of full attention, and global attention for a few tokens.

    Positions are learned and count the tokens before, padding left out. Any length up to ``max_len`` is taken as it is:
    nothing is padded to a multiple of the window.
    """

    Config: ClassVar[type[EncoderConfig]] = LongformerConfig
    # Published: base and large, both windows of 512 tokens, both sides together.
    SIZES: ClassVar[dict[str, dict]] = {
        "tiny": dict(vocab_size=256, max_len=64, num_layers=2, d_model=32, num_heads=2, d_inner=64, window=(3, 5)),
        "base": dict(
            vocab_size=50265, max_len=4096, num_layers=12, d_model=768, num_heads=12, d_inner=3072, window=256
        ),
        "large": dict(
            vocab_size=50265, max_len=4096, num_layers=24, d_model=1024, num_heads=16, d_inner=4096, window=256
        ),
    }

    config: LongformerConfig

    def attention(self, layer: int) -> GlobalWindowAttention:
        c = self.config
        window, dilation = (per_layer(getattr(c, name), c.num_layers, name)[layer] for name in ("window", "dilation"))
        return GlobalWindowAttention(c.d_model, c.num_heads, window, dilation, c.attention_dropout, self.ops)

    def positions_of(self, inputs: Int[Tensor, "B T"], valid: Bool[Tensor, "B T"] | None) -> Int[Tensor, "#B T"]:
        counted = torch.ones_like(inputs, dtype=torch.bool) if valid is None else valid
        return (counted.long().cumsum(1) - 1).clamp(min=0)

    def encoded(
        self, x: Float[Tensor, "B T d"], valid: Bool[Tensor, "B T"] | None, global_mask: Bool[Tensor, "B T"] | None
    ) -> Float[Tensor, "B T d"]:
        if global_mask is not None and valid is not None:
            global_mask = global_mask & valid
        return self.through_blocks(x, valid, GlobalTokens.of(global_mask))

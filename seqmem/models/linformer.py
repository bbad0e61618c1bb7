"""Linformer (Wang et al. 2020, arXiv 2006.04768)."""

from typing import ClassVar, Literal

import torch
from jaxtyping import Bool, Float, Int
from pydantic import Field, model_validator
from torch import Tensor

from seqmem.layers.low_rank_attention import LowRankAttention, Projection, TimeProjection
from seqmem.models.encoder import EncoderConfig
from seqmem.models.post_norm_encoder import PostNormEncoder, PostNormEncoderConfig
from seqmem.ops import Ops


class LinformerConfig(PostNormEncoderConfig):
    """Configuration of :class:`Linformer`."""

    num_slots: int = Field(gt=0, description="mixtures of keys and values that a token sees; k in the paper")
    sharing: Literal["none", "heads", "key-value", "layers"] = Field(
        "layers", description="one projection for each head, key and value; a layer's heads; its keys and values; all"
    )
    projection: Projection = Field("linear", description="of time: a matrix, a convolution, or a pooling")

    @model_validator(mode="after")
    def _slots_fit(self):
        if self.projection == "linear" and self.num_slots > self.max_len:
            raise ValueError(
                f"num_slots = {self.num_slots} is more than max_len = {self.max_len}; give at most as many"
            )
        if self.projection != "linear" and self.max_len % self.num_slots:
            raise ValueError(
                f"max_len = {self.max_len} is not a multiple of num_slots = {self.num_slots}, which "
                f"projection = {self.projection} needs"
            )
        return self


class Linformer(PostNormEncoder):
    """RoBERTa whose tokens see a fixed number of mixtures of all tokens, in time linear in their number.

    Every mixture holds every token, later ones too: this cannot be made causal, and no language model of the next token
    can be built on it. All tokens see all, so that ``global_mask`` changes nothing.
    """

    Config: ClassVar[type[EncoderConfig]] = LinformerConfig
    # Published: base, with the best average of its table 2.
    SIZES: ClassVar[dict[str, dict]] = {
        "tiny": dict(vocab_size=256, max_len=64, num_layers=2, d_model=32, num_heads=2, d_inner=64, num_slots=8),
        "base": dict(
            vocab_size=50265, max_len=512, num_layers=12, d_model=768, num_heads=12, d_inner=3072, num_slots=256
        ),
        # Ours: the encoder of recipes/mlm with mixtures in place of windows.
        "mlm-cpu": dict(
            vocab_size=2048,
            max_len=256,
            num_layers=4,
            d_model=128,
            num_heads=4,
            d_inner=512,
            num_slots=64,
            num_types=2,
            dropout=0.0,
            attention_dropout=0.0,
        ),
    }

    config: LinformerConfig

    def __init__(self, config: LinformerConfig, ops: Ops):
        super().__init__(config, ops)
        self.shared = self._projection() if config.sharing == "layers" else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Weights N(0, std), biases 0; projections of time as they have it."""
        super().reset_parameters()
        for module in self.modules():
            if isinstance(module, TimeProjection):
                module.reset_parameters()

    def attention(self, layer: int) -> LowRankAttention:
        c = self.config
        keys = None if c.sharing == "layers" else self._projection()
        values = self._projection() if c.sharing in ("none", "heads") else None
        return LowRankAttention(c.d_model, c.num_heads, keys, values, c.attention_dropout, self.ops)

    def _projection(self) -> TimeProjection:
        c = self.config
        num_matrices = c.num_heads if c.sharing == "none" else 1
        return TimeProjection(c.projection, c.max_len, c.num_slots, num_matrices, c.d_model)

    def positions_of(self, inputs: Int[Tensor, "B T"], valid: Bool[Tensor, "B T"] | None) -> Int[Tensor, "#B T"]:
        return torch.arange(inputs.shape[1], device=inputs.device)[None]

    def encoded(
        self, x: Float[Tensor, "B T d"], valid: Bool[Tensor, "B T"] | None, global_mask: Bool[Tensor, "B T"] | None
    ) -> Float[Tensor, "B T d"]:
        return self.through_blocks(x, valid, self.shared)

"""Longformer, the encoder (Beltagy et al. 2020, arXiv 2004.05150)."""

from collections.abc import Iterator
from typing import ClassVar, cast

import torch
from jaxtyping import Bool, Float, Int
from pydantic import Field, model_validator
from torch import Tensor, nn

from seqmem.errors import SeqmemError
from seqmem.layers.feed_forward import feed_forward
from seqmem.layers.global_attention import GlobalTokens, GlobalWindowAttention
from seqmem.layers.masked_head import MaskedHead
from seqmem.models.encoder import Encoder, EncoderConfig
from seqmem.models.per_layer import Ranges, per_layer
from seqmem.ops import Ops


class LongformerConfig(EncoderConfig):
    """Configuration of :class:`Longformer`; no window changes any weight."""

    num_layers: int = Field(gt=0)
    d_model: int = Field(gt=0)
    num_heads: int = Field(gt=0)
    d_inner: int = Field(gt=0)
    window: Ranges = Field(description="neighbours on each side, in every layer or in each; half of attention_window")
    dilation: Ranges = Field(1, description="in every layer or in each; 1 for neighbours")
    num_types: int = Field(1, gt=0, description="kinds of tokens")
    dropout: float = Field(0.1, ge=0, lt=1)
    attention_dropout: float = Field(0.1, ge=0, lt=1)
    norm_eps: float = Field(1e-5, gt=0)
    init_std: float = Field(0.02, gt=0)

    @model_validator(mode="after")
    def _heads_and_layers_fit(self):
        for name in ("window", "dilation"):
            if min(per_layer(getattr(self, name), self.num_layers, name)) < 1:
                raise ValueError(f"{name} has no limit in some layer; give positive numbers")
        if self.d_model % self.num_heads:
            raise ValueError(f"d_model = {self.d_model} is not a multiple of num_heads = {self.num_heads}")
        return self


class LongformerBlock(nn.Module):
    """Attention and feed-forward with residuals, post-LN: ``LN(x + f(x))``."""

    def __init__(self, config: LongformerConfig, layer: int, ops: Ops):
        super().__init__()
        c = config
        window, dilation = (per_layer(getattr(c, name), c.num_layers, name)[layer] for name in ("window", "dilation"))
        self.attention = GlobalWindowAttention(c.d_model, c.num_heads, window, dilation, c.attention_dropout, ops)
        self.attention_norm = nn.LayerNorm(c.d_model, c.norm_eps)
        self.feed_forward = feed_forward(c.d_model, c.d_inner, 0.0, nn.GELU)
        self.feed_forward_norm = nn.LayerNorm(c.d_model, c.norm_eps)
        self.dropout = nn.Dropout(c.dropout)

    def forward(
        self, x: Float[Tensor, "B T d"], valid: Bool[Tensor, "B T"] | None, tokens: GlobalTokens | None
    ) -> Float[Tensor, "B T d"]:
        x = self.attention_norm(x + self.dropout(self.attention(x, valid, tokens)))
        return self.feed_forward_norm(x + self.dropout(self.feed_forward(x)))


class Longformer(Encoder):
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
    head: MaskedHead

    def __init__(self, config: LongformerConfig, ops: Ops):
        super().__init__()
        self.config = config
        self.ops = ops
        self.head = MaskedHead(config.vocab_size, config.d_model, config.norm_eps)
        self.positions = nn.Embedding(config.max_len, config.d_model)
        self.types = nn.Embedding(config.num_types, config.d_model)
        self.embedding_norm = nn.LayerNorm(config.d_model, config.norm_eps)
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(LongformerBlock(config, layer, ops) for layer in range(config.num_layers))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Weights N(0, std), biases 0, as BERT's."""
        std = self.config.init_std
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, 0, std)
            if isinstance(module, nn.Linear):
                nn.init.zeros_(module.bias)
        for block in self._blocks():
            block.attention.reset_parameters(std)
        self.head.reset_parameters(std)

    def _blocks(self) -> Iterator[LongformerBlock]:
        return cast(Iterator[LongformerBlock], iter(self.blocks))

    def embed(
        self, inputs: Int[Tensor, "B T"], valid: Bool[Tensor, "B T"] | None, types: Int[Tensor, "B T"] | None
    ) -> Float[Tensor, "B T d"]:
        """Vectors of tokens at their places."""
        counted = torch.ones_like(inputs, dtype=torch.bool) if valid is None else valid
        position = (counted.long().cumsum(1) - 1).clamp(min=0)
        types = torch.zeros_like(inputs) if types is None else types
        return self.head.embed(inputs) + self.positions(position) + self.types(types)

    def forward(
        self,
        inputs: Int[Tensor, "B T"],
        valid: Bool[Tensor, "B T"] | None = None,
        global_mask: Bool[Tensor, "B T"] | None = None,
        types: Int[Tensor, "B T"] | None = None,
    ) -> Float[Tensor, "B T d"]:
        """See :meth:`Encoder.forward`.

        Raises:
            SeqmemError: more tokens than ``max_len``, or a mask of another shape or type.
        """
        if inputs.shape[1] > self.config.max_len:
            raise SeqmemError(f"{inputs.shape[1]} tokens, but max_len = {self.config.max_len}; cut the text")
        for name, mask in (("valid", valid), ("global_mask", global_mask)):
            if mask is not None and (mask.shape != inputs.shape or mask.dtype != torch.bool):
                raise SeqmemError(f"{name} is {mask.dtype} {list(mask.shape)}; give bool {list(inputs.shape)}")
        if global_mask is not None and valid is not None:
            global_mask = global_mask & valid
        tokens = GlobalTokens.of(global_mask)
        x = self.dropout(self.embedding_norm(self.embed(inputs, valid, types)))
        for block in self._blocks():
            x = block(x, valid, tokens)
        return x

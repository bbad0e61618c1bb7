"""BERT's encoder, of which others change the attention: embeddings, post-LN blocks, a head over masked tokens."""

from collections.abc import Iterator
from functools import partial
from typing import Any, ClassVar, cast

import torch
from jaxtyping import Bool, Float, Int
from pydantic import Field, model_validator
from torch import Tensor, nn

from seqmem.errors import SeqmemError
from seqmem.layers.encoder_attention import EncoderAttention
from seqmem.layers.feed_forward import feed_forward
from seqmem.layers.masked_head import MaskedHead
from seqmem.layers.shortcut import Shortcut
from seqmem.models.encoder import Encoder, EncoderConfig
from seqmem.ops import Ops


class PostNormEncoderConfig(EncoderConfig):
    """What the configurations of such encoders have in common."""

    num_layers: int = Field(gt=0)
    num_heads: int = Field(gt=0)
    d_inner: int = Field(gt=0)
    dropout: float = Field(0.1, ge=0, lt=1)
    attention_dropout: float = Field(0.1, ge=0, lt=1)
    admin: bool = Field(False, description="Admin's weights of shortcuts, set by a first batch")
    norm_eps: float = Field(1e-5, gt=0)
    init_std: float = Field(0.02, gt=0)

    @model_validator(mode="after")
    def _heads_fit(self):
        if self.d_model % self.num_heads:
            raise ValueError(f"d_model = {self.d_model} is not a multiple of num_heads = {self.num_heads}")
        return self


class PostNormBlock(nn.Module):
    """Attention and feed-forward with residuals, post-LN: ``LN(x + f(x))``."""

    def __init__(self, attention: EncoderAttention, config: PostNormEncoderConfig, gelu: str):
        super().__init__()
        c = config
        self.attention = attention
        self.attention_norm = nn.LayerNorm(c.d_model, c.norm_eps)
        self.feed_forward = feed_forward(c.d_model, c.d_inner, 0.0, partial(nn.GELU, gelu))
        self.feed_forward_norm = nn.LayerNorm(c.d_model, c.norm_eps)
        self.attention_shortcut, self.feed_forward_shortcut = (Shortcut(c.d_model, c.admin) for _ in range(2))
        self.dropout = nn.Dropout(c.dropout)

    def forward(
        self, x: Float[Tensor, "B T d"], valid: Bool[Tensor, "B T"] | None, seen: Any
    ) -> Float[Tensor, "B T d"]:
        x = self.attention_norm(self.attention_shortcut(x, self.dropout(self.attention(x, valid, seen))))
        return self.feed_forward_norm(self.feed_forward_shortcut(x, self.dropout(self.feed_forward(x))))


class PostNormEncoder(Encoder):
    """Subclasses say how tokens look at each other, and where tokens stand.

    Attributes:
        GELU: how GELU is computed: ``none`` for exactly, ``tanh`` for its first approximation.
    """

    GELU: ClassVar[str] = "none"

    config: PostNormEncoderConfig
    head: MaskedHead

    def __init__(self, config: PostNormEncoderConfig, ops: Ops):
        super().__init__()
        self.config = config
        self.ops = ops
        self.head = MaskedHead(config.vocab_size, config.d_model, config.norm_eps, self.GELU)
        self.positions = nn.Embedding(config.max_len, config.d_model)
        self.types = nn.Embedding(config.num_types, config.d_model)
        self.embedding_norm = nn.LayerNorm(config.d_model, config.norm_eps)
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(
            PostNormBlock(self.attention(layer), config, self.GELU) for layer in range(config.num_layers)
        )
        self.reset_parameters()

    def attention(self, layer: int) -> EncoderAttention:
        """The attention of a layer."""
        raise NotImplementedError

    def positions_of(self, inputs: Int[Tensor, "B T"], valid: Bool[Tensor, "B T"] | None) -> Int[Tensor, "#B T"]:
        """Where tokens stand, each below ``max_len``."""
        raise NotImplementedError

    def encoded(
        self, x: Float[Tensor, "B T d"], valid: Bool[Tensor, "B T"] | None, global_mask: Bool[Tensor, "B T"] | None
    ) -> Float[Tensor, "B T d"]:
        """Hidden states of embedded tokens, by way of :meth:`through_blocks`."""
        raise NotImplementedError

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

    def _blocks(self) -> Iterator[PostNormBlock]:
        return cast(Iterator[PostNormBlock], iter(self.blocks))

    def normed(self, x: Float[Tensor, "B T d"]) -> Float[Tensor, "B T d"]:
        """Norm and dropout of the embedding."""
        return self.dropout(self.embedding_norm(x))

    def through_blocks(
        self, x: Float[Tensor, "B T d"], valid: Bool[Tensor, "B T"] | None, seen: Any = None
    ) -> Float[Tensor, "B T d"]:
        """Hidden states after the last block; ``seen`` is for the attention."""
        for block in self._blocks():
            x = block(x, valid, seen)
        return x

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
        types = torch.zeros_like(inputs) if types is None else types
        x = self.head.embed(inputs) + self.positions(self.positions_of(inputs, valid)) + self.types(types)
        return self.encoded(self.normed(x), valid, global_mask)

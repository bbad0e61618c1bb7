"""Causal transformers whose memory moves by the clock.

Time is cut into segments of ``segment_len`` tokens, counted from the first token ever seen. A token attends to the
memory as it stood at its segment's start and to its own segment so far; at a segment's end each layer's memory becomes
the last ``mem_len`` of [memory | segment], detached. Calls may begin and end anywhere: what is left of an unfinished
segment waits in the state, and a call that crosses a border is split. So whole = chunked = token by token.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, cast

import torch
from jaxtyping import Bool, Float, Int
from pydantic import Field
from torch import Tensor, nn

from seqmem.layers.attention import Block, RelativeTerms, SelfAttention
from seqmem.layers.feed_forward import feed_forward
from seqmem.layers.vocabulary import AdaptiveSoftmax, TiedSoftmax
from seqmem.models.base import CausalModel, ModelConfig, Output
from seqmem.ops import Band, Ops
from seqmem.state import State


class SegmentedConfig(ModelConfig):
    """What the segmented transformers have in common."""

    num_layers: int = Field(gt=0)
    d_model: int = Field(gt=0)
    num_heads: int = Field(gt=0)
    head_dim: int = Field(gt=0)
    d_inner: int = Field(gt=0)
    dropout: float = Field(0.0, ge=0, lt=1)
    attention_dropout: float = Field(0.0, ge=0, lt=1)
    pre_norm: bool = Field(False, description="pre-LN blocks and a final LN; the papers are post-LN")
    cutoffs: tuple[int, ...] = Field((), description="adaptive softmax clusters; plain softmax when empty")
    div_value: float = Field(1.0, ge=1)
    init_std: float = Field(0.02, gt=0)


@dataclass(frozen=True)
class SegmentedState(State):
    """Memory and unfinished segment.

    Args:
        past: for each layer its inputs ``[B, mem_len + u, d]``, oldest first: the memory's slots, then the u tokens
            since the last border.
        filled: how many of the memory's newest slots take part, int64 ``[B]``.
        position: tokens seen so far.
    """

    past: tuple[Tensor, ...]
    filled: Tensor
    position: int


@dataclass(frozen=True)
class CachedState(SegmentedState):
    """The same with keys and values ``[B, mem_len + u, 2, H, D]`` in place of inputs; valid while weights stay fixed.

    Args:
        relative: for each layer ``W_r R`` of all distances that occur, farthest first,
            ``[mem_len + segment_len, H, D]``; empty without relative positions.
    """

    relative: tuple[Tensor, ...]

    batch_free: ClassVar[frozenset[str]] = frozenset({"relative"})


class SegmentedTransformer(CausalModel):
    """Blocks, vocabulary and clock; subclasses say how positions enter."""

    config: SegmentedConfig
    head: TiedSoftmax | AdaptiveSoftmax
    blocks: nn.ModuleList
    mem_len: int = 0

    def __init__(self, config: SegmentedConfig, ops: Ops):
        super().__init__()
        self.config = config
        self.ops = ops
        self.head = (
            AdaptiveSoftmax(config.vocab_size, config.d_model, config.cutoffs, config.div_value)
            if config.cutoffs
            else TiedSoftmax(config.vocab_size, config.d_model)
        )
        self.blocks = nn.ModuleList(self._block() for _ in range(config.num_layers))
        self.final_norm = nn.LayerNorm(config.d_model) if config.pre_norm else nn.Identity()
        self.dropout = nn.Dropout(config.dropout)

    def _blocks(self) -> Iterator[Block]:
        return cast(Iterator[Block], iter(self.blocks))

    def _block(self) -> Block:
        c = self.config
        attention = SelfAttention(c.d_model, c.num_heads, c.head_dim, c.attention_dropout, self.ops)
        return Block(attention, feed_forward(c.d_model, c.d_inner, c.dropout), c.d_model, c.dropout, c.pre_norm)

    def reset_parameters(self) -> None:
        """The published initialisation: weights N(0, std), LN gains N(1, std), biases 0."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, 0, self.config.init_std)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif isinstance(module, nn.LayerNorm):
                nn.init.normal_(module.weight, 1, self.config.init_std)
                nn.init.zeros_(module.bias)
        self.head.reset_parameters(self.config.init_std)

    def embed(self, inputs: Int[Tensor, "B T"], offset: int) -> Float[Tensor, "B T d"]:
        """Vectors of tokens, the first of which is token ``offset`` of its segment."""
        return self.dropout(self.head.embed(inputs))

    def relative_terms(self, num_keys: int, cached: tuple[Tensor, ...]) -> list[RelativeTerms | None]:
        """For each layer the relative positions of ``num_keys`` keys, from a cache if there is one."""
        return [None] * self.config.num_layers

    def band(self, num_keys: int) -> Band:
        """Which of the ``num_keys`` keys up to its own a token sees."""
        return Band(num_keys - 1)

    def memory_valid(self, state: SegmentedState) -> Bool[Tensor, "B M"] | None:
        """Which memory slots take part; None for all."""
        return None

    def init_state(self, batch_size: int) -> SegmentedState:
        c, like = self.config, next(self.parameters())
        past = tuple(like.new_zeros(batch_size, self.mem_len, c.d_model) for _ in range(c.num_layers))
        return SegmentedState(past, torch.zeros(batch_size, dtype=torch.int64, device=like.device), 0)

    @torch.no_grad()
    def generation_state(self, state: State) -> CachedState:
        """Keys and values instead of inputs, so that a step projects one token."""
        assert isinstance(state, SegmentedState)
        past = tuple(block.keys_values(x) for block, x in zip(self._blocks(), state.past, strict=True))
        terms = self.relative_terms(self.mem_len + self.config.segment_len, ())
        relative = tuple(term.r for term in terms if term is not None)
        return CachedState(past, state.filled, state.position, relative)

    def forward(self, inputs: Int[Tensor, "B T"], state: State | None = None) -> Output:
        """Hidden states of the last layer ``[B, T, d]``, position t for token t + 1, and the state after the call."""
        state = self.init_state(inputs.shape[0]) if state is None else state
        assert isinstance(state, SegmentedState)
        hidden, start = [], 0
        while start < inputs.shape[1]:
            room = self.config.segment_len - state.position % self.config.segment_len
            part, state = self._within_segment(inputs[:, start : start + room], state)
            hidden.append(part)
            start += room
        return Output(torch.cat(hidden, 1), state)

    def _within_segment(self, inputs: Tensor, state: SegmentedState) -> tuple[Tensor, SegmentedState]:
        x = self.embed(inputs, state.position % self.config.segment_len)
        num_keys = state.past[0].shape[1] + inputs.shape[1]
        valid = self.memory_valid(state)
        if valid is not None:
            valid = nn.functional.pad(valid, (0, num_keys - valid.shape[1]), value=True)
        terms = self.relative_terms(num_keys, state.relative if isinstance(state, CachedState) else ())
        extended = []
        for block, past, term in zip(self._blocks(), state.past, terms, strict=True):
            longer, keys_values = block.extend(past, x)
            x = block(x, keys_values, self.band(num_keys), valid, term)
            extended.append(longer)
        hidden = self.dropout(self.final_norm(x))
        return hidden, self._advance(state, tuple(extended), inputs.shape[1])

    def _advance(self, state: SegmentedState, past: tuple[Tensor, ...], num_tokens: int) -> SegmentedState:
        position, filled = state.position + num_tokens, state.filled
        if position % self.config.segment_len == 0:
            past = tuple(layer[:, layer.shape[1] - self.mem_len :].detach() for layer in past)
            filled = (filled + self.config.segment_len).clamp(max=self.mem_len)
        return type(state)(**(vars(state) | {"past": past, "filled": filled, "position": position}))

"""Causal transformers whose tokens look back over a window, in calls of any length.

Every layer keeps what the last tokens left it, as many as its mixer looks back over. So a sequence cut into calls
anywhere gives what it gives whole, and a state is as large after a million tokens as after a window.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar, Literal, cast

import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor, nn

from seqmem.layers.residual import MixerBlock
from seqmem.layers.vocabulary import TiedSoftmax
from seqmem.models.base import CausalModel, ModelConfig, Output, split_at_borders
from seqmem.ops import Ops
from seqmem.state import State, newest


class WindowedConfig(ModelConfig):
    """Base of their configurations; without ``carry``, ``segment_len`` is the context."""

    num_layers: int = Field(gt=0)
    d_model: int = Field(gt=0)
    num_heads: int = Field(gt=0)
    d_inner: int = Field(gt=0)
    dropout: float = Field(0.0, ge=0, lt=1)
    carry: bool = Field(True, description="windows reach into the segment before; otherwise every segment begins empty")
    init_std: float = Field(0.02, gt=0)

    @property
    def memory_note(self) -> str:
        return "the windows of all layers" if self.carry else "nothing"


class AttentiveConfig(WindowedConfig):
    """Base of configurations whose tokens attend."""

    head_dim: int = Field(gt=0)
    attention_dropout: float = Field(0.0, ge=0, lt=1)


class ContextConfig(AttentiveConfig):
    """Base of configurations whose patterns and positions are counted from the beginning of a segment."""

    carry: Literal[False] = False


@dataclass(frozen=True)
class WindowedState(State):
    """What the windows of the next tokens reach.

    Args:
        past: for each layer what the last tokens left, oldest first, ``[B, P, d]``; P is at most the mixer's reach.
            For generation, keys and values ``[B, P, 2, H, D]`` where the mixer has such.
        filled: how many of the last tokens are to be seen, int64 ``[B]``.
        position: tokens seen so far.
        relative: for generation, each layer's relative positions; empty otherwise.
    """

    past: tuple[Tensor, ...]
    filled: Tensor
    position: int
    relative: tuple[Tensor, ...] = ()

    batch_free: ClassVar[frozenset[str]] = frozenset({"relative"})


class WindowedTransformer(CausalModel):
    """Blocks, vocabulary and the past; subclasses say how tokens mix."""

    config: WindowedConfig
    head: TiedSoftmax
    blocks: nn.ModuleList

    def __init__(self, config: WindowedConfig, ops: Ops):
        super().__init__()
        self.config = config
        self.ops = ops
        self.head = TiedSoftmax(config.vocab_size, config.d_model)
        self.blocks = nn.ModuleList(self.block(layer) for layer in range(config.num_layers))
        self.final_norm = nn.LayerNorm(config.d_model) if self._blocks_are_pre_norm else nn.Identity()
        self.dropout = nn.Dropout(config.dropout)

    def block(self, layer: int) -> MixerBlock:
        """A layer's block."""
        raise NotImplementedError

    def embed(self, inputs: Int[Tensor, "B T"], position: int) -> Float[Tensor, "B T d"]:
        """Vectors of tokens, the first of which is token ``position`` of all that were ever seen."""
        return self.head.embed(inputs)

    def relative(self, layer: int) -> Tensor:
        """A layer's relative positions ``[C, H, D]``, farthest first; without any, a tensor without elements."""
        return self.head.weight.new_zeros(0)

    @property
    def _blocks_are_pre_norm(self) -> bool:
        return next(self._blocks()).pre_norm

    def stack(self) -> nn.ModuleList:
        return self.blocks

    def _blocks(self) -> Iterator[MixerBlock]:
        return cast(Iterator[MixerBlock], iter(self.blocks))

    def reset_parameters(self) -> None:
        """Weights N(0, std), biases 0."""
        std = self.config.init_std
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, 0, std)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        for block in self._blocks():
            block.mixer.reset_parameters(std)
        self.head.reset_parameters(std)

    def init_state(self, batch_size: int) -> WindowedState:
        like = self.head.weight
        past = tuple(like.new_zeros(batch_size, 0, self.config.d_model) for _ in self.blocks)
        return WindowedState(past, torch.zeros(batch_size, dtype=torch.int64, device=like.device), 0)

    @torch.no_grad()
    def generation_state(self, state: State) -> WindowedState:
        """Keys and values instead of inputs, so that a step projects one token; valid for fixed weights."""
        assert isinstance(state, WindowedState)
        if state.relative:
            return state
        past = tuple(block.mixer.cached(x) for block, x in zip(self._blocks(), state.past, strict=True))
        return replace(state, past=past, relative=self._relative())

    def _relative(self) -> tuple[Tensor, ...]:
        return tuple(map(self.relative, range(self.config.num_layers)))

    def forward(self, inputs: Int[Tensor, "B T"], state: State | None = None) -> Output:
        """Hidden states of the last layer ``[B, T, d]``, position t for token t + 1, and the state after the call."""
        state = self.init_state(inputs.shape[0]) if state is None else state
        assert isinstance(state, WindowedState)
        hidden = []
        pieces = [inputs] if self.config.carry else split_at_borders(inputs, state.position, self.config.segment_len)
        for piece in pieces:
            x, state = self._through_layers(piece, state)
            hidden.append(self.dropout(self.final_norm(x)))
        return Output(torch.cat(hidden, 1), state)

    def _through_layers(self, inputs: Tensor, state: WindowedState) -> tuple[Float[Tensor, "B T d"], WindowedState]:
        """The last layer's output, and the state after it."""
        x = self.dropout(self.embed(inputs, state.position))
        pasts = []
        layers = zip(self._blocks(), state.past, state.relative or self._relative(), strict=True)
        for block, past, relative in layers:
            valid = newest(state.filled, past.shape[1]) if past.shape[1] else None
            x, left = block(x, past, valid, relative)
            whole = torch.cat([past, left], 1)
            pasts.append(whole[:, max(0, whole.shape[1] - block.mixer.reach) :])
        position = state.position + inputs.shape[1]
        if not self.config.carry and position % self.config.segment_len == 0:
            empty = tuple(past[:, :0] for past in pasts)
            return x, replace(state, past=empty, filled=torch.zeros_like(state.filled), position=position)
        return x, replace(state, past=tuple(pasts), filled=state.filled + inputs.shape[1], position=position)

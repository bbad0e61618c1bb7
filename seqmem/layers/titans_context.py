"""Titans' memory as context (MAC, arXiv 2501.00663, section 4.1), in a form that is causal."""

from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from seqmem.layers.convolved import ConvolvedProjection
from seqmem.layers.fast_weights import Weights, pieces
from seqmem.layers.neural_memory import MemoryState, NeuralMemory
from seqmem.layers.titans import MemoryGate, TitansMixer
from seqmem.layers.titans_attention import TitansAttention
from seqmem.ops import Ops
from seqmem.state import State


@dataclass(frozen=True)
class SegmentState(State):
    """An unfinished segment.

    Args:
        past: its tokens so far, ``[B, u, d]``; for generation their keys and values ``[B, u, 2, H, D]``.
        position: how many they are.
    """

    past: Tensor
    position: int


class SegmentMixer(TitansMixer):
    """Attention within segments and to the persistent vectors: a layer of MAC without memory."""

    def __init__(self, d_model: int, num_persistent: int, attention: TitansAttention):
        super().__init__(d_model, num_persistent)
        self.attention = attention
        self.segment_len = attention.window

    def init_state(self, batch_size: int) -> SegmentState:
        return SegmentState(self.persistent.new_zeros(batch_size, 0, self.persistent.shape[1]), 0)

    def generation_state(self, state: Any) -> Any:
        return state if state.past.dim() == 5 else replace(state, past=self.attention.cached(state.past))

    def relative(self) -> Tensor:
        return self.attention.relative()

    def forward(self, x: Float[Tensor, "B T d"], state: Any, relative: Tensor) -> tuple[Float[Tensor, "B T d"], Any]:
        outs = []
        for tokens in pieces(state.position, x.shape[1], self.segment_len):
            out, state = self.within(x[:, tokens], state, relative)
            outs.append(out)
            if state.position == self.segment_len:
                state = self.at_border(state)
        return torch.cat(outs, 1), state

    def within(self, x: Float[Tensor, "B T d"], state: Any, relative: Tensor) -> tuple[Float[Tensor, "B T d"], Any]:
        """A call whose tokens belong to one segment."""
        out, left = self.attention(x, state.past, None, relative, persistent=self.persistent)
        return out, replace(state, past=torch.cat([state.past, left], 1), position=state.position + x.shape[1])

    def at_border(self, state: Any) -> Any:
        """The segment is over."""
        return replace(state, past=state.past[:, :0], position=0)


@dataclass(frozen=True)
class ContextState(SegmentState):
    """An unfinished segment, its history, and memory.

    Args:
        history: what memory gave for the segment's tokens, as ``past``.
        queries: inputs of the queries' convolution before the next token.
        memory: as it is now.
        start: its weights at the segment's start.
    """

    history: Tensor
    queries: Tensor
    memory: MemoryState
    start: Weights


class ContextMixer(SegmentMixer):
    """Tokens see persistent vectors, what memory knew of them when their segment began, and each other.

    ``h = M_start(q)``, ``y = Attn([p | h | x])``, then memory takes in y, and ``o = y o M(y)``. Read literally, the
    paper lets the future leak: every token sees the history vectors of later ones, and the gate reads a
    memory that has taken in the whole segment. Here token t sees history vectors up to its own, and its gate reads the
    memory as it stands after y_t. The rows of y that memory takes in are those of tokens, which the paper leaves open.
    """

    def __init__(
        self,
        d_model: int,
        num_persistent: int,
        attention: TitansAttention,
        memory: NeuralMemory,
        kernel_size: int,
        ops: Ops,
    ):
        super().__init__(d_model, num_persistent, attention)
        self.memory = memory
        self.query = ConvolvedProjection(d_model, d_model, kernel_size, ops)
        self.gate = MemoryGate(d_model)

    def reset_parameters(self, std: float) -> None:
        super().reset_parameters(std)
        self.query.reset_parameters()

    def init_state(self, batch_size: int) -> ContextState:
        segment = super().init_state(batch_size)
        memory = self.memory.init_state(batch_size)
        return ContextState(segment.past, 0, segment.past, self.query.initial(batch_size), memory, memory.fast.weights)

    def generation_state(self, state: Any) -> Any:
        if state.past.dim() == 5:
            return state
        return replace(super().generation_state(state), history=self.attention.cached(state.history))

    def memory_of(self, state: Any) -> MemoryState:
        return state.memory

    def within(self, x: Float[Tensor, "B T d"], state: Any, relative: Tensor) -> tuple[Float[Tensor, "B T d"], Any]:
        q, queries = self.query(x, state.queries)
        recalled = self.memory.recall(q, state.start, x)
        left = self.attention.cached(recalled) if state.history.dim() == 5 else recalled
        history = torch.cat([state.history, left], 1)
        keys_values = history if history.dim() == 5 else self.attention.cached(history)
        attended, left = self.attention(x, state.past, None, relative, persistent=self.persistent, history=keys_values)
        renewed, memory = self.memory(attended, state.memory)
        position = state.position + x.shape[1]
        past = torch.cat([state.past, left], 1)
        return self.gate(attended, renewed), ContextState(past, position, history, queries, memory, state.start)

    def at_border(self, state: Any) -> Any:
        ended = super().at_border(state)
        return replace(ended, history=state.history[:, :0], start=state.memory.fast.weights)

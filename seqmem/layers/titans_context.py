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
from seqmem.layers.titans_window import SlidingWindow, WindowState
from seqmem.ops import Ops
from seqmem.state import State


@dataclass(frozen=True)
class SegmentState(State):
    """An unfinished segment: its tokens so far, and how many they are."""

    window: WindowState
    position: int


class SegmentMixer(TitansMixer):
    """Attention within segments and to the persistent vectors: a layer of MAC without memory.

    Args:
        attention: its window is the segment.
    """

    def __init__(self, d_model: int, num_persistent: int, attention: TitansAttention):
        super().__init__(d_model, num_persistent)
        self.window = SlidingWindow(attention)

    def init_state(self, batch_size: int) -> Any:
        return SegmentState(self.window.init_state(batch_size), 0)

    def generation_state(self, state: Any) -> Any:
        return replace(state, window=self.window.generation_state(state.window))

    def forward(self, x: Float[Tensor, "B T d"], state: Any) -> tuple[Float[Tensor, "B T d"], Any]:
        segment_len, outs = self.window.attention.window, []
        for tokens in pieces(state.position, x.shape[1], segment_len):
            out, state = self.within(x[:, tokens], state)
            outs.append(out)
            state = replace(state, position=state.position + out.shape[1])
            if state.position == segment_len:
                state = self.at_border(state)
        return torch.cat(outs, 1), state

    def within(self, x: Float[Tensor, "B T d"], state: Any) -> tuple[Float[Tensor, "B T d"], Any]:
        """A call whose tokens belong to one segment."""
        out, window = self.window(x, state.window, self.persistent)
        return out, replace(state, window=window)

    def at_border(self, state: Any) -> Any:
        """The segment is over."""
        return replace(state, window=replace(state.window, past=state.window.past[:, :0]), position=0)


@dataclass(frozen=True)
class ContextState(SegmentState):
    """An unfinished segment and memory.

    Args:
        history: what memory gave for the segment's tokens, as the window's past.
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

    ``h = M_start(q)``, ``y = x + Attn([p | h | x])``, then memory takes in y, and ``o = y o M(y)``. The paper has
    residual connections around every block; without this one a token reaches memory through attention to itself alone,
    which begins as a mean of all. Read literally, the paper lets the future leak: every token sees the history vectors
    of later ones, and the gate reads a memory that has taken in the whole segment. Here token t sees history vectors up
    to its own, and its gate reads the memory as it stands after y_t. The rows of y that memory takes in are those of
    tokens, which the paper leaves open.
    """

    def __init__(
        self, d_model: int, num_persistent: int, attention: TitansAttention, memory: NeuralMemory, ops: Ops
    ) -> None:
        super().__init__(d_model, num_persistent, attention)
        self.memory = memory
        self.query = ConvolvedProjection(d_model, d_model, memory.config.kernel_size, ops)
        self.gate = MemoryGate(d_model)

    def reset_parameters(self, std: float) -> None:
        super().reset_parameters(std)
        self.query.reset_parameters()

    def init_state(self, batch_size: int) -> ContextState:
        window, memory = self.window.init_state(batch_size), self.memory.init_state(batch_size)
        return ContextState(window, 0, window.past, self.query.initial(batch_size), memory, memory.fast.weights)

    def generation_state(self, state: ContextState) -> ContextState:
        if state.window.is_cached:
            return state
        return replace(super().generation_state(state), history=self.window.attention.cached(state.history))

    def problem(self, state: ContextState) -> str | None:
        return self.memory.problem(state.memory)

    def within(self, x: Float[Tensor, "B T d"], state: ContextState) -> tuple[Float[Tensor, "B T d"], ContextState]:
        attention, is_cached = self.window.attention, state.window.is_cached
        q, queries = self.query(x, state.queries)
        recalled = self.memory.recall(q, state.start, x)
        history = torch.cat([state.history, attention.cached(recalled) if is_cached else recalled], 1)
        keys_values = history if is_cached else attention.cached(history)
        attended, window = self.window(x, state.window, self.persistent, keys_values)
        y = x + attended
        renewed, memory = self.memory(y, state.memory)
        after = replace(state, window=window, history=history, queries=queries, memory=memory)
        return self.gate(y, renewed), after

    def at_border(self, state: ContextState) -> ContextState:
        ended = super().at_border(state)
        return replace(ended, history=state.history[:, :0], start=state.memory.fast.weights)

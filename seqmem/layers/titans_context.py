"""Titans' memory as context (MAC, arXiv 2501.00663, section 4.1), in a form that is causal."""

from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from seqmem.layers.convolved import ConvolvedProjection
from seqmem.layers.fast_weights import Weights
from seqmem.layers.neural_memory import MemoryState, NeuralMemory
from seqmem.layers.titans import MemoryGate, TitansMixer
from seqmem.layers.titans_attention import Seen, TitansAttention
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
        sizes = runs(state.position, x.shape[1], self.window.attention.window)
        outs = []
        for (count, length), tokens in zip(sizes, x.split([count * length for count, length in sizes], 1), strict=True):
            out, state = self.run(tokens.unflatten(1, (count, length)), state)
            outs.append(out)
        return torch.cat(outs, 1), state

    def run(self, x: Float[Tensor, "B n c d"], state: Any) -> tuple[Float[Tensor, "B n*c d"], Any]:
        """Several whole segments, or tokens that belong to one."""
        seen, window = self.seen(x, state)
        out = self.window.attention.output(seen.out)
        return out.reshape(len(x), -1, x.shape[-1]), self.after(state, window, x.shape[2])

    def seen(self, x: Float[Tensor, "B n c d"], state: Any) -> tuple[Seen, WindowState]:
        """What tokens see of each other and of the persistent vectors; segments are rows, side by side."""
        count = x.shape[1]
        rows = state.window.map(lambda tensor: tensor.repeat_interleave(count, 0), ("past", "filled"))
        return self.window.tokens(x.flatten(0, 1), rows, self.persistent)

    def after(self, state: Any, window: WindowState, length: int) -> Any:
        """The state after so many tokens of a segment; at its end nothing of the window is left."""
        if state.position + length < self.window.attention.window:
            return replace(state, window=window, position=state.position + length)
        return replace(state, window=state.window.emptied(), position=0)


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

    ``h = M_start(q)``, ``a = RMSNorm(Attn([p | h | x]))``, memory takes in ``y = x + a``, and the output is
    ``a + o`` with ``o = M(y) o sigmoid(y)``, both normalised. Read literally, the paper lets the future leak: every
    token sees the history vectors of later ones, and the gate reads a memory that has taken in the whole segment. Here
    token t sees history vectors up to its own, and its gate reads the memory as it stands after y_t. The rows of y that
    memory takes in are those of tokens, which the paper leaves open.

    The paper has residual connections around every block: here around attention and around the gate. Since memory and
    gate normalise what they are given, nothing else would hold attention's size: without its norm it grew to 100 times
    that of the tokens, which memory then no longer saw, and learnt nothing. The norm's gain begins at 0.01, so that
    memory learns of tokens first. The sigmoid is y's, so that what memory gives has a path of its own to the output.
    """

    def __init__(
        self, d_model: int, num_persistent: int, attention: TitansAttention, memory: NeuralMemory, ops: Ops
    ) -> None:
        super().__init__(d_model, num_persistent, attention)
        self.memory = memory
        self.query = ConvolvedProjection(d_model, d_model, memory.config.kernel_size, ops)
        self.attended_norm = nn.RMSNorm(d_model)
        self.gate = MemoryGate(d_model, torch.sigmoid)

    def reset_parameters(self, std: float) -> None:
        super().reset_parameters(std)
        self.query.reset_parameters()
        nn.init.constant_(self.attended_norm.weight, 0.01)

    def init_state(self, batch_size: int) -> ContextState:
        window, memory = self.window.init_state(batch_size), self.memory.init_state(batch_size)
        return ContextState(window, 0, window.past, self.query.initial(batch_size), memory, memory.fast.weights)

    def generation_state(self, state: ContextState) -> ContextState:
        if state.window.is_cached:
            return state
        return replace(super().generation_state(state), history=self.window.attention.cached(state.history))

    def problem(self, state: ContextState) -> str | None:
        return self.memory.problem(state.memory)

    def run(self, x: Float[Tensor, "B n c d"], state: ContextState) -> tuple[Float[Tensor, "B n*c d"], ContextState]:
        q, queries = self.query(x.flatten(1, 2), state.queries)
        seen, window = self.seen(x, state)
        state = replace(state, queries=queries)
        attended, renewed = [], []
        parts = zip(x.unbind(1), q.unflatten(1, x.shape[1:3]).unbind(1), seen.by_segment(x.shape[1]), strict=True)
        for tokens, asking, part in parts:
            history = self._history(tokens, asking, state)
            with_history = self.window.attention.with_history(part, self._keys_values(history, state))
            attended.append(self.attended_norm(with_history))
            written, memory = self.memory(tokens + attended[-1], state.memory)
            renewed.append(written)
            state = self.after(replace(state, history=history, memory=memory), window, x.shape[2])
        of_attention = torch.cat(attended, 1)
        return of_attention + self.gate(torch.cat(renewed, 1), x.flatten(1, 2) + of_attention), state

    def after(self, state: ContextState, window: WindowState, length: int) -> ContextState:
        state = super().after(state, window, length)
        if state.position:
            return state
        return replace(state, history=state.history[:, :0], start=state.memory.fast.weights)

    def _history(self, x: Float[Tensor, "B c d"], q: Float[Tensor, "B c d"], state: ContextState) -> Tensor:
        """The segment's history with what its start's memory gives for these tokens."""
        recalled = self.memory.recall(q, state.start, x)
        kept = self.window.attention.cached(recalled) if state.window.is_cached else recalled
        return torch.cat([state.history, kept], 1)

    def _keys_values(self, history: Tensor, state: ContextState) -> Float[Tensor, "B S 2 H D"]:
        return history if state.window.is_cached else self.window.attention.cached(history)


def runs(position: int, length: int, segment_len: int) -> list[tuple[int, int]]:
    """What becomes of a call: the rest of the open segment, whole ones, and the beginning of one.

    Returns:
        Of each how many segments it has, and how many tokens of each.
    """
    rest = min(-position % segment_len, length)
    whole, beginning = divmod(length - rest, segment_len)
    return [(count, size) for count, size in ((1, rest), (whole, segment_len), (1, beginning)) if count * size]

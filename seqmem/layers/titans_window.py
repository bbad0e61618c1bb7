"""The sliding window of Titans, which sees persistent vectors besides, with its state."""

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from seqmem.layers.titans_attention import Seen, TitansAttention
from seqmem.state import State


@dataclass(frozen=True)
class WindowState(State):
    """What attention carries.

    Args:
        past: tokens that it still reaches, ``[B, P, d]``; for generation their keys and values ``[B, P, 2, H, D]``.
        relative: for generation, relative positions ``[C, H, D]``, farthest first; otherwise without elements.
    """

    past: Tensor
    relative: Tensor

    batch_free: ClassVar[frozenset[str]] = frozenset({"relative"})

    @property
    def is_cached(self) -> bool:
        """Whether it holds keys and values."""
        return self.past.dim() == 5


class SlidingWindow(nn.Module):
    """Attention to the last tokens and to vectors that everyone sees."""

    def __init__(self, attention: TitansAttention):
        super().__init__()
        self.attention = attention

    def init_state(self, batch_size: int) -> WindowState:
        """Nothing seen."""
        weight = self.attention.qkv.weight
        return WindowState(weight.new_zeros(batch_size, 0, weight.shape[1]), weight.new_zeros(0))

    def generation_state(self, state: WindowState) -> WindowState:
        """Keys and values instead of inputs, relative positions once and for all."""
        if state.is_cached:
            return state
        return replace(state, past=self.attention.cached(state.past), relative=self.attention.relative())

    def forward(
        self, x: Float[Tensor, "B T d"], state: WindowState, persistent: Float[Tensor, "P d"]
    ) -> tuple[Float[Tensor, "B T d"], WindowState]:
        """The output of what the tokens see, and the state after them."""
        seen, state = self.tokens(x, state, persistent)
        return self.attention.output(seen.out), state

    def tokens(
        self, x: Float[Tensor, "B T d"], state: WindowState, persistent: Float[Tensor, "P d"]
    ) -> tuple[Seen, WindowState]:
        """What the tokens see, and the state after them."""
        relative = state.relative if state.is_cached else self.attention.relative()
        seen, left = self.attention.tokens(x, state.past, relative, persistent)
        whole = torch.cat([state.past, left], 1)
        return seen, replace(state, past=whole[:, max(0, whole.shape[1] - self.attention.reach) :])

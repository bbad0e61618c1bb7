"""The sliding window of Titans, which sees persistent vectors besides, with its state."""

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from seqmem.layers.titans_attention import Seen, TitansAttention
from seqmem.state import State, newest


@dataclass(frozen=True)
class WindowState(State):
    """What attention carries.

    Args:
        past: tokens that it still reaches, ``[B, P, d]``; for generation their keys and values ``[B, P, 2, H, D]``.
        filled: how many of the last tokens are to be seen, int64 ``[B]``.
        relative: for generation, relative positions ``[C, H, D]``, farthest first; otherwise without elements.
    """

    past: Tensor
    filled: Tensor
    relative: Tensor

    batch_free: ClassVar[frozenset[str]] = frozenset({"relative"})

    @property
    def is_cached(self) -> bool:
        """Whether it holds keys and values."""
        return self.past.dim() == 5

    def emptied(self) -> "WindowState":
        """The same with nothing to be seen."""
        return replace(self, past=self.past[:, :0], filled=torch.zeros_like(self.filled))


class SlidingWindow(nn.Module):
    """Attention to the last tokens and to vectors that everyone sees."""

    def __init__(self, attention: TitansAttention):
        super().__init__()
        self.attention = attention

    def init_state(self, batch_size: int) -> WindowState:
        """Nothing seen."""
        weight = self.attention.qkv.weight
        filled = torch.zeros(batch_size, dtype=torch.int64, device=weight.device)
        return WindowState(weight.new_zeros(batch_size, 0, weight.shape[1]), filled, weight.new_zeros(0))

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
        valid = newest(state.filled, state.past.shape[1]) if state.past.shape[1] else None
        seen, left = self.attention.tokens(x, state.past, valid, relative, persistent)
        whole = torch.cat([state.past, left], 1)
        past = whole[:, max(0, whole.shape[1] - self.attention.reach) :]
        return seen, replace(state, past=past, filled=state.filled + x.shape[1])

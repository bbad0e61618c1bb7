"""Titans' layers: memory alone, memory as a gate of attention, memory before attention (arXiv 2501.00663, section 4).

Every mixer is ``mixer(x [B, T, d], state, relative) -> (out [B, T, d], state)``. Memory as context is in
:mod:`seqmem.layers.titans_context`.
"""

from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from seqmem.layers.neural_memory import MemoryState, NeuralMemory
from seqmem.layers.titans_attention import TitansAttention
from seqmem.state import State


class TitansMixer(nn.Module):
    """A mixer with persistent vectors: learned, independent of the input, as if they stood before the sequence."""

    def __init__(self, d_model: int, num_persistent: int):
        super().__init__()
        self.persistent = nn.Parameter(torch.empty(num_persistent, d_model))

    def reset_parameters(self, std: float) -> None:
        """Persistent vectors N(0, 1), as normalised tokens are."""
        nn.init.normal_(self.persistent)
        for part in self.children():
            if isinstance(part, TitansAttention):
                part.reset_parameters(std)
            if isinstance(part, NeuralMemory):
                part.reset_parameters()

    def init_state(self, batch_size: int) -> Any:
        """The state before the first token."""
        raise NotImplementedError

    def generation_state(self, state: Any) -> Any:
        """Keys and values instead of what they come from; valid for fixed weights."""
        return state

    def relative(self) -> Tensor:
        """Relative positions ``[C, H, D]``; without any, a tensor without elements."""
        return self.persistent.new_zeros(0)

    def memory_of(self, state: Any) -> MemoryState | None:
        """The long-term memory in a state."""
        return None

    def forward(self, x: Float[Tensor, "B T d"], state: Any, relative: Tensor) -> tuple[Float[Tensor, "B T d"], Any]:
        raise NotImplementedError


class MemoryMixer(TitansMixer):
    """Long-term memory alone (LMM). Persistent vectors are the first tokens that it ever sees."""

    def __init__(self, d_model: int, num_persistent: int, memory: NeuralMemory):
        super().__init__(d_model, num_persistent)
        self.memory = memory

    def init_state(self, batch_size: int) -> MemoryState:
        return self.memory.after(self.persistent, batch_size)[1]

    def memory_of(self, state: MemoryState) -> MemoryState:
        return state

    def forward(
        self, x: Float[Tensor, "B T d"], state: MemoryState, relative: Tensor
    ) -> tuple[Float[Tensor, "B T d"], MemoryState]:
        return self.memory(x, state)


@dataclass(frozen=True)
class WindowState(State):
    """What a window carries.

    Args:
        past: tokens that it still reaches, ``[B, P, d]``; for generation their keys and values ``[B, P, 2, H, D]``.
    """

    past: Tensor


class WindowMixer(TitansMixer):
    """Attention to a window and to the persistent vectors: a layer without memory."""

    def __init__(self, d_model: int, num_persistent: int, attention: TitansAttention):
        super().__init__(d_model, num_persistent)
        self.attention = attention

    def init_state(self, batch_size: int) -> WindowState:
        return WindowState(self.persistent.new_zeros(batch_size, 0, self.persistent.shape[1]))

    def generation_state(self, state: Any) -> Any:
        return state if state.past.dim() == 5 else replace(state, past=self.attention.cached(state.past))

    def relative(self) -> Tensor:
        return self.attention.relative()

    def forward(self, x: Float[Tensor, "B T d"], state: Any, relative: Tensor) -> tuple[Float[Tensor, "B T d"], Any]:
        out, past = self.seen(x, state.past, relative, self.persistent)
        return out, replace(state, past=past)

    def seen(
        self, x: Float[Tensor, "B T d"], past: Tensor, relative: Tensor, persistent: Float[Tensor, "P d"]
    ) -> tuple[Float[Tensor, "B T d"], Tensor]:
        """What the tokens see, and the past of those after them."""
        out, left = self.attention(x, past, None, relative, persistent=persistent)
        whole = torch.cat([past, left], 1)
        return out, whole[:, max(0, whole.shape[1] - self.attention.reach) :]


@dataclass(frozen=True)
class GateState(WindowState):
    """What a window and a memory carry."""

    memory: MemoryState


class WindowMemoryMixer(WindowMixer):
    """A window and a memory; subclasses say how they are joined."""

    def __init__(self, d_model: int, num_persistent: int, attention: TitansAttention, memory: NeuralMemory):
        super().__init__(d_model, num_persistent, attention)
        self.memory = memory

    def init_state(self, batch_size: int) -> GateState:
        memory = self.memory.after(self.persistent, batch_size)[1]
        return GateState(super().init_state(batch_size).past, memory)

    def memory_of(self, state: Any) -> MemoryState:
        return state.memory


class GateMixer(WindowMemoryMixer):
    """Memory as a gate (MAG): a window and the memory see the same tokens, and one gates the other."""

    def __init__(self, d_model: int, num_persistent: int, attention: TitansAttention, memory: NeuralMemory):
        super().__init__(d_model, num_persistent, attention, memory)
        self.gate = MemoryGate(d_model)

    def forward(self, x: Float[Tensor, "B T d"], state: Any, relative: Tensor) -> tuple[Float[Tensor, "B T d"], Any]:
        recalled, memory = self.memory(x, state.memory)
        out, past = self.seen(x, state.past, relative, self.persistent)
        return self.gate(out, recalled), GateState(past, memory)


class LayerMixer(WindowMemoryMixer):
    """Memory as a layer (MAL): the window sees what the memory makes of the tokens, the persistent ones included."""

    def forward(self, x: Float[Tensor, "B T d"], state: Any, relative: Tensor) -> tuple[Float[Tensor, "B T d"], Any]:
        recalled, memory = self.memory(x, state.memory)
        persistent = self.memory.after(self.persistent, 1)[0][0]
        out, past = self.seen(recalled, state.past, relative, persistent)
        return out, GateState(past, memory)


class MemoryGate(nn.Module):
    """``RMSNorm(y) o SiLU(RMSNorm(m))``, each norm with a gain of its own; the paper leaves the non-linearity open."""

    def __init__(self, d_model: int):
        super().__init__()
        self.attended_norm, self.recalled_norm = nn.RMSNorm(d_model), nn.RMSNorm(d_model)

    def forward(self, attended: Float[Tensor, "B T d"], recalled: Float[Tensor, "B T d"]) -> Float[Tensor, "B T d"]:
        return self.attended_norm(attended) * nn.functional.silu(self.recalled_norm(recalled))

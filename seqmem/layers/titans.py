"""Titans' layers: memory alone, memory as a gate of attention, memory before attention (arXiv 2501.00663, section 4).

Memory as context is in :mod:`seqmem.layers.titans_context`.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from seqmem.layers.mixer import Mixer
from seqmem.layers.neural_memory import MemoryState, NeuralMemory
from seqmem.layers.titans_attention import TitansAttention
from seqmem.layers.titans_window import SlidingWindow, WindowState
from seqmem.state import State


class TitansMixer(Mixer):
    """A mixer with persistent vectors: learned, independent of the input, as if they stood before the sequence."""

    def __init__(self, d_model: int, num_persistent: int):
        super().__init__()
        self.persistent = nn.Parameter(torch.empty(num_persistent, d_model))

    def reset_parameters(self, std: float) -> None:
        """Persistent vectors N(0, 1), as normalised tokens are; the rest as the parts have it."""
        nn.init.normal_(self.persistent)
        for part in self.modules():
            if isinstance(part, TitansAttention):
                part.reset_parameters(std)
            elif isinstance(part, NeuralMemory):
                part.reset_parameters()


class MemoryMixer(TitansMixer):
    """Long-term memory alone (LMM). Persistent vectors are the first tokens that it ever sees."""

    def __init__(self, d_model: int, num_persistent: int, memory: NeuralMemory):
        super().__init__(d_model, num_persistent)
        self.memory = memory

    def init_state(self, batch_size: int) -> MemoryState:
        return self.memory.after(self.persistent, batch_size)[1]

    def problem(self, state: MemoryState) -> str | None:
        return self.memory.problem(state)

    def forward(self, x: Float[Tensor, "B T d"], state: MemoryState) -> tuple[Float[Tensor, "B T d"], MemoryState]:
        return self.memory(x, state)


class WindowMixer(TitansMixer):
    """Attention to a window and to the persistent vectors: a layer without memory."""

    def __init__(self, d_model: int, num_persistent: int, window: SlidingWindow):
        super().__init__(d_model, num_persistent)
        self.window = window

    def init_state(self, batch_size: int) -> WindowState:
        return self.window.init_state(batch_size)

    def generation_state(self, state: WindowState) -> WindowState:
        return self.window.generation_state(state)

    def forward(self, x: Float[Tensor, "B T d"], state: WindowState) -> tuple[Float[Tensor, "B T d"], WindowState]:
        return self.window(x, state, self.persistent)


@dataclass(frozen=True)
class WindowMemoryState(State):
    """What a window and a memory carry."""

    window: WindowState
    memory: MemoryState


class WindowMemoryMixer(TitansMixer):
    """A window and a memory, whose first tokens are the persistent vectors; subclasses say how they are joined."""

    def __init__(self, d_model: int, num_persistent: int, window: SlidingWindow, memory: NeuralMemory):
        super().__init__(d_model, num_persistent)
        self.window, self.memory = window, memory

    def init_state(self, batch_size: int) -> WindowMemoryState:
        memory = self.memory.after(self.persistent, batch_size)[1]
        return WindowMemoryState(self.window.init_state(batch_size), memory)

    def generation_state(self, state: WindowMemoryState) -> WindowMemoryState:
        return replace(state, window=self.window.generation_state(state.window))

    def problem(self, state: WindowMemoryState) -> str | None:
        return self.memory.problem(state.memory)


class GateMixer(WindowMemoryMixer):
    """Memory as a gate (MAG): a window and the memory see the same tokens, and one gates the other."""

    def __init__(self, d_model: int, num_persistent: int, window: SlidingWindow, memory: NeuralMemory):
        super().__init__(d_model, num_persistent, window, memory)
        self.gate = MemoryGate(d_model, nn.functional.silu)

    def forward(self, x: Float[Tensor, "B T d"], state: Any) -> tuple[Float[Tensor, "B T d"], Any]:
        recalled, memory = self.memory(x, state.memory)
        attended, window = self.window(x, state.window, self.persistent)
        return self.gate(attended, recalled), WindowMemoryState(window, memory)


class LayerMixer(WindowMemoryMixer):
    """Memory as a layer (MAL): the window sees what the memory makes of the tokens, the persistent ones included."""

    def forward(self, x: Float[Tensor, "B T d"], state: Any) -> tuple[Float[Tensor, "B T d"], Any]:
        recalled, memory = self.memory(x, state.memory)
        persistent = self.memory.after(self.persistent, 1)[0][0]
        attended, window = self.window(recalled, state.window, persistent)
        return attended, WindowMemoryState(window, memory)


class MemoryGate(nn.Module):
    """``RMSNorm(x) o f(RMSNorm(z))``, each norm with a gain of its own; the paper leaves open what f is, and whose."""

    def __init__(self, d_model: int, activation: Callable[[Tensor], Tensor]):
        super().__init__()
        self.norm, self.gate_norm = nn.RMSNorm(d_model), nn.RMSNorm(d_model)
        self.activation = activation

    def forward(self, x: Float[Tensor, "B T d"], z: Float[Tensor, "B T d"]) -> Float[Tensor, "B T d"]:
        return self.norm(x) * self.activation(self.gate_norm(z))

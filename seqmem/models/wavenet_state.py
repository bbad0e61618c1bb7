"""WaveNet's explicit memory."""

from dataclasses import dataclass

from torch import Tensor

from seqmem.state import State


@dataclass(frozen=True)
class WaveNetState(State):
    """What the convolutions have yet to look back at, oldest first.

    Args:
        tokens: the last ``initial_kernel - 1`` ids, ``[B, K - 1]``.
        layers: for each layer its last ``(kernel_size - 1) * dilation`` inputs, ``[B, P, C]``.
        condition: class of each stream, int64 ``[B]``; 0 without conditioning.
        position: tokens seen so far.
    """

    tokens: Tensor
    layers: tuple[Tensor, ...]
    condition: Tensor
    position: int

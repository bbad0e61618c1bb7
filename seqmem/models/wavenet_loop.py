"""WaveNet's generation by a backend's compiled loop."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from seqmem.layers.head import Sampler
from seqmem.models.wavenet_state import WaveNetState
from seqmem.ops import Loop, Queues


class QueuedTokenLoop:
    """The :class:`seqmem.models.token_loop.TokenLoop` of a program's loop.

    Args:
        state: left as it is.
    """

    def __init__(self, loop: Loop, state: WaveNetState, sampler: Sampler):
        self._loop = loop
        self._sampler = sampler
        self._condition = state.condition
        time = state.position
        self._queues = Queues(_rolled(state.tokens, time), [_rolled(past, time) for past in state.layers], time)

    @property
    def state(self) -> WaveNetState:
        """The state after all tokens that were read; later ones leave it as it is."""
        queues = self._queues
        layers = tuple(_rolled(ring, -queues.position) for ring in queues.layers)
        return WaveNetState(_rolled(queues.tokens, -queues.position), layers, self._condition, queues.position)

    @torch.no_grad()
    def __call__(
        self, token: Int[Tensor, "B"], num_tokens: int, forced: Int[Tensor, "B N"] | None = None
    ) -> tuple[Int[Tensor, "B N"], Float[Tensor, "B N"]]:
        """See :class:`seqmem.models.token_loop.TokenLoop`."""
        # By time first: a seed gives the same tokens whatever the lengths of calls.
        noise = self._sampler.uniform(num_tokens, len(token), device=token.device).transpose(0, 1)
        return self._loop(self._queues, token, noise, self._sampler.temperature, self._sampler.top_p, forced)


def _rolled(past: Tensor, shift: int) -> Tensor:
    """A copy of ``[B, P, ...]`` whose entry i is at i + shift, modulo P."""
    return past.roll(shift, 1) if past.shape[1] else past.clone()

"""Generation of many tokens at a time."""

from collections.abc import Iterator
from itertools import cycle, islice
from typing import TYPE_CHECKING, Protocol

import torch
from jaxtyping import Float, Int
from torch import Tensor

from seqmem.layers.head import Sampler
from seqmem.state import State

if TYPE_CHECKING:
    from seqmem.models.base import CausalModel, ModelConfig


class TokenLoop(Protocol):
    """Goes on from a last known token, again and again."""

    @property
    def state(self) -> State:
        """The generation state after all tokens that were read: all but the last that a call returned."""

    def __call__(
        self, token: Int[Tensor, "B"], num_tokens: int, forced: Int[Tensor, "B N"] | None = None
    ) -> tuple[Int[Tensor, "B N"], Float[Tensor, "B N"]]:
        """Choose N = ``num_tokens`` tokens a stream, and read all of them but the last.

        Args:
            token: the last known one, not read yet.
            forced: take these instead of choosing.

        Returns:
            The tokens, and the natural logarithm of the probability that the model itself gave to each: at temperature
            1, among all ids of its phase.
        """


class SteppedLoop:
    """The :class:`TokenLoop` of every model: a generation step, the head, and a choice, a token at a time."""

    def __init__(self, model: "CausalModel", state: State, sampler: Sampler):
        self._config = model.config
        self._head = model.head
        self._step = model.generation_step(state)
        self._sampler = sampler

    @property
    def state(self) -> State:
        """See :class:`TokenLoop`."""
        return self._step.state

    @torch.no_grad()
    def __call__(
        self, token: Int[Tensor, "B"], num_tokens: int, forced: Int[Tensor, "B N"] | None = None
    ) -> tuple[Int[Tensor, "B N"], Float[Tensor, "B N"]]:
        """See :class:`TokenLoop`."""
        tokens, log_probs = [], []
        for turn, ids in enumerate(islice(ids_after(token, self._config), num_tokens)):
            hidden = self._step(token)
            token = self._head.sample(hidden, self._sampler, ids) if forced is None else forced[:, turn]
            tokens.append(token)
            log_probs.append(self._head.log_prob(hidden, token, ids))
        return torch.stack(tokens, 1), torch.stack(log_probs, 1)


def ids_after(token: Int[Tensor, "B"], config: "ModelConfig") -> Iterator[slice]:
    """The ids among which the next token is, the one after it, and so on; streams are in the same phase."""
    count = config.vocab_size // config.num_phases
    phases = [slice(phase * count, (phase + 1) * count) for phase in range(config.num_phases)]
    now = int(token[0]) // count if config.num_phases > 1 else 0
    return islice(cycle(phases), now + 1, None)

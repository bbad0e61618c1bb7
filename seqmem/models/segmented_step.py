"""Generation within preallocated columns: a compiled step for every token, the model's own code at segments' ends."""

from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Int
from torch import Tensor

from seqmem.ops import Step

if TYPE_CHECKING:
    from seqmem.models.segmented import SegmentedState, SegmentedTransformer


class SegmentedStep:
    """The :class:`GenerationStep` of a segmented transformer whose backend compiles it.

    Args:
        state: a generation state.
        step: of the model's program for that state.
    """

    def __init__(self, model: "SegmentedTransformer", state: "SegmentedState", step: Step):
        self._model = model
        self._step = step
        self._open(state)

    def _open(self, state: "SegmentedState") -> None:
        self._begin, self._buffers = state, self._model.step_buffers(state)

    @property
    def state(self) -> "SegmentedState":
        """The generation state after the tokens so far; later tokens leave it as it is."""
        return self._model.after_steps(self._begin, self._buffers)

    @torch.no_grad()
    def __call__(self, tokens: Int[Tensor, "B"]) -> Float[Tensor, "B d"]:
        offset = self._model.config.segment_len - self._buffers.room
        hidden = self._step(self._model.embed(tokens[:, None], offset)[:, 0], self._buffers)
        if not self._buffers.room:
            self._open(self._model.at_border(self.state)[0])
        return hidden

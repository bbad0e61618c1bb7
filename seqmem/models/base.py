"""What every causal model offers a training loop, an evaluation and a generator."""

from dataclasses import dataclass, field
from typing import ClassVar, Self

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from seqmem.config import validated
from seqmem.layers.head import Head
from seqmem.ops import Ops
from seqmem.state import State


class ModelConfig(BaseModel):
    """Base of every model's configuration; unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    vocab_size: int = Field(gt=0)
    segment_len: int = Field(gt=0, description="tokens of one training call; memories move at its multiples")


@dataclass
class Output:
    """What a call returns: ``hidden [B, T, d]``, where position t predicts token t + 1; the new state; extra losses."""

    hidden: Tensor
    state: State
    losses: dict[str, Tensor] = field(default_factory=dict)


class CausalModel(nn.Module):
    """A model of the next token whose memory is an explicit argument and result.

    ``model(inputs [B, T], state) -> Output``. For every split of a sequence into calls the hidden states are the same:
    whole = chunked = token by token.
    """

    Config: ClassVar[type[ModelConfig]]
    SIZES: ClassVar[dict[str, dict]]

    config: ModelConfig
    ops: Ops
    head: Head

    def init_state(self, batch_size: int) -> State:
        """The state before the first token, on the model's device and in its dtype."""
        raise NotImplementedError

    def generation_state(self, state: State) -> State:
        """A state for the same position under which single tokens are cheap; valid while the weights stay fixed."""
        return state

    def forward(self, inputs: Tensor, state: State | None = None) -> Output:
        raise NotImplementedError

    def with_lengths(self, **lengths: int | bool) -> Self:
        """The same weights under other lengths (``mem_len``, ``segment_len``, ...), as evaluation may want them."""
        config = validated(type(self.config), self.config.model_dump() | lengths, "lengths")
        with torch.device("meta"):
            twin = type(self)(config, self.ops)
        twin.load_state_dict(self.state_dict(), assign=True)
        return twin.train(self.training)

"""What every causal model offers a training loop, an evaluation and a generator."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol, Self

import torch
from jaxtyping import Bool, Float, Int
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn

from seqmem.layers.head import Head, Sampler
from seqmem.models.model import Model
from seqmem.models.token_loop import SteppedLoop, TokenLoop
from seqmem.schema import validated
from seqmem.state import State


class ModelConfig(BaseModel):
    """Base of every model's configuration; unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    vocab_size: int = Field(gt=0)
    segment_len: int = Field(gt=0, description="memories move at its multiples")
    num_phases: int = Field(
        1,
        gt=0,
        description="kinds of tokens that alternate, as bytes of a sample; each has an equal part of the ids",
    )

    @model_validator(mode="after")
    def _phases_are_equal(self):
        if self.vocab_size % self.num_phases:
            raise ValueError(f"vocab_size = {self.vocab_size} is not a multiple of num_phases = {self.num_phases}")
        return self

    @property
    def unroll_len(self) -> int:
        """Tokens of one training call, through which gradients flow."""
        return self.segment_len

    @property
    def period(self) -> int:
        """Tokens after which all that counts tokens stands as at the first one, so that a row may begin anew there."""
        return self.segment_len

    @property
    def turnover(self) -> int:
        """Tokens after which a memory, where it has slots, holds nothing that it held before."""
        return self.segment_len

    @property
    def memory_note(self) -> str:
        """What is carried from segment to segment, in words."""
        return "its state"


@dataclass
class Output:
    """What a call returns: ``hidden [B, T, d]``, where position t predicts token t + 1; the new state; extra losses.

    Extra losses are scalars by name, one a layer as ``"attention_reconstruction.0"``; training minimises their sum with
    the likelihood's.
    """

    hidden: Tensor
    state: State
    losses: dict[str, Tensor] = field(default_factory=dict)


def split_at_borders(inputs: Tensor, position: int, segment_len: int) -> Iterator[Tensor]:
    """Cut ``inputs [B, T]``, the first of which stands at ``position``, so that no piece crosses a segment's border."""
    room = segment_len - position % segment_len
    yield inputs[:, :room]
    for start in range(room, inputs.shape[1], segment_len):
        yield inputs[:, start : start + segment_len]


class GenerationStep(Protocol):
    """Generation token by token: ``step(tokens [B]) -> hidden [B, d]``, without gradient."""

    @property
    def state(self) -> State:
        """The generation state after the tokens so far."""

    def __call__(self, tokens: Int[Tensor, "B"]) -> Float[Tensor, "B d"]: ...


class CausalModel(Model):
    """A model of the next token whose memory is an explicit argument and result.

    ``model(inputs [B, T], state) -> Output``. For every split of a sequence into calls the hidden states are the same:
    whole = chunked = token by token.
    """

    Config: ClassVar[type[ModelConfig]]

    config: ModelConfig
    head: Head

    def stack(self) -> Iterable[nn.Module]:
        """The layers in order, each returning its hidden states ``[B, T, d]``, perhaps first of several things.

        A model whose layers are not modules of their own has none to show.
        """
        return ()

    def init_state(self, batch_size: int) -> State:
        """The state before the first token, on the model's device and in its dtype."""
        raise NotImplementedError

    def renew(self, state: State, rows: Bool[Tensor, "B"]) -> State:
        """``state`` with the marked rows as before their first token, the others as they are.

        Args:
            state: after a multiple of ``config.period`` tokens; not for generation.
        """
        return state.renew(rows, self.init_state(len(rows)))

    def generation_state(self, state: State) -> State:
        """A state for the same position under which single tokens are cheap; valid while the weights stay fixed."""
        return state

    def generation_step(self, state: State) -> GenerationStep:
        """Go on from ``state`` token by token, in the fastest way its backend offers; valid while the weights stay."""
        return ForwardStep(self, state)

    def token_loop(self, state: State, sampler: Sampler) -> TokenLoop:
        """Go on from ``state`` many tokens at a time, in the fastest way its backend offers; valid likewise."""
        return SteppedLoop(self, state, sampler)

    def forward(self, inputs: Tensor, state: State | None = None) -> Output:
        raise NotImplementedError

    def with_lengths(self, **lengths: Any) -> Self:
        """The same weights under other lengths (``mem_len``, ``segment_len``, ...), as evaluation may want them.

        They are the very parameters: an optimizer of one model trains both.
        """
        config = validated(type(self.config), self.config.model_dump() | lengths, "lengths")
        with torch.device("meta"):
            twin = type(self)(config, self.ops)
        twin.load_state_dict(self.state_dict(keep_vars=True), assign=True)
        return twin.train(self.training)


class ForwardStep:
    """The :class:`GenerationStep` of every model: its own forward, one token a call."""

    def __init__(self, model: CausalModel, state: State):
        self._model = model
        self.state = model.generation_state(state)

    @torch.no_grad()
    def __call__(self, tokens: Int[Tensor, "B"]) -> Float[Tensor, "B d"]:
        out = self._model(tokens[:, None], self.state)
        self.state = out.state
        return out.hidden[:, 0]

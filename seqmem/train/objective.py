"""What a recipe trains for: what a step reads and loses, and how a split is measured."""

from abc import ABC, abstractmethod
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, Self, TypeVar

from torch import Tensor

from seqmem.config import EvalConfig, Recipe, TrainConfig
from seqmem.data.tokens import Tokens
from seqmem.data.vocabulary import Vocabulary
from seqmem.data.word_frequency import WordCounts
from seqmem.models.model import Model
from seqmem.models.registry import Registry
from seqmem.ops import Ops
from seqmem.state import State
from seqmem.train.evaluation import Measurement

M = TypeVar("M", bound=Model)

Batch = tuple[Tensor, ...]
"""What a step reads; the objective that made it knows what each tensor is."""


class Batches(Protocol):
    """Training batches without end, the same ones again from the same ``cursor``.

    Attributes:
        period: with an empty memory one begins at a cursor that is a multiple of it.
    """

    cursor: int
    period: int

    def next(self) -> Batch:
        """The next batch, on the CPU."""


class Objective(ABC, Generic[M]):
    """A way to train and to measure models of one kind; it holds settings alone, no data and no place in them.

    Attributes:
        models: the table that the recipe's model is in.
        rows: what the rows of a batch are called.
    """

    models: ClassVar[Registry[Any]]
    rows: ClassVar[str]

    def model_config(self, recipe: Recipe, vocab_size: int | None = None) -> Any:
        """Configuration of the recipe's model over ``vocab_size`` ids of text or sound; the recipe's when absent."""
        decided = recipe.vocabulary_settings | ({} if vocab_size is None else {"vocab_size": vocab_size})
        return self.models.config(recipe.model_name, **recipe.model_overrides, **decided)

    def build(self, config: Any, ops: Ops) -> M:
        """The model that is trained."""
        return self.models.build(config, ops)

    def adopt(self, model: M, trained: Model) -> None:
        """Begin with the weights of ``trained``, of another run.

        Raises:
            RuntimeError: they are another model's.
        """
        model.load_state_dict(trained.state_dict())

    @abstractmethod
    def row_len(self, config: Any) -> int:
        """Tokens of a row of a batch, at most."""

    @abstractmethod
    def batches(self, tokens: Tokens, vocabulary: Vocabulary, config: Any, training: TrainConfig) -> Batches:
        """What steps read of the training split, by a model of ``config``."""

    def sized(self) -> Self:
        """The objective as a dry run computes it, on tensors without data."""
        return self

    @abstractmethod
    def example(self, config: Any, batch_size: int) -> Batch:
        """A batch of the largest size, of any content."""

    def init_state(self, model: M, batch_size: int) -> State:
        """What a step hands to the next one, before the first."""
        return State()

    @abstractmethod
    def losses(self, model: M, batch: Batch, state: State) -> tuple[dict[str, Tensor], State]:
        """What a step minimises the sum of, and what it hands on.

        Returns:
            ``loss``, a mean in nats, and ``auxiliary/NAME`` the others; scalars.
        """

    def units(self, tokens: Tokens, vocabulary: Vocabulary) -> dict[str, float]:
        """How many losses there are for each unit that they are also told by, as ``bits_per_UNIT``."""
        return {}

    def about(self, batches: Any) -> dict[str, str]:
        """What a run is told of its batches, by heading."""
        return {}

    def texts(self, batch: Batch) -> Tensor:
        """Rows of a batch ``[B, T]`` that are text and nothing else."""
        return batch[0]

    def validate(self, model: M, tokens: Tokens, vocabulary: Vocabulary, config: EvalConfig) -> Measurement:
        """Measure ``model`` between steps."""
        return self.evaluate(model, tokens, vocabulary, "validation", config, "validation split")

    @abstractmethod
    def evaluate(
        self,
        model: M,
        tokens: Tokens,
        vocabulary: Vocabulary,
        split: str,
        config: EvalConfig,
        text: str,
        windows: tuple[int, int] | None = None,
        words: WordCounts | None = None,
    ) -> Measurement:
        """Measure ``model``, in any mode, on a split.

        Args:
            text: what the split is, for the report.
            windows: context and stride, where windows that overlap are to be read.
            words: of the training text, where causal models are to be told by them.

        Raises:
            SeqmemError: nothing to measure, or ``config`` or ``windows`` has what the model has not.
        """

    @abstractmethod
    def conclude(self, model: M, vocabulary: Vocabulary, recipe: Recipe, run_dir: Path) -> str:
        """Leave in ``run_dir`` what a finished run is to be judged by; say what it is and what to do next."""


def objective_of(recipe: Recipe) -> Objective[Any]:
    """The objective that the recipe's sections ask for."""
    for section, place in _BY_SECTION.items():
        if settings := getattr(recipe, section):
            return _class(place)(settings)
    return _class("next_token:NextToken")(recipe.train.at_document_end)


_BY_SECTION = {"masking": "masked_token:MaskedToken", "task": "task:Task", "recall": "recall:Recall"}


def _class(place: str) -> Any:
    """Imported when it is asked for, since objectives build on this module."""
    module, _, name = place.partition(":")
    return getattr(import_module(f"seqmem.train.{module}"), name)

"""Training in stages, each with lengths, a rate and perhaps a batch of its own; without stages, all steps are one.

The weights, the optimizer's moments and the place in the text go over from stage to stage. Memory does not: it begins
empty, as the lengths that it has are others; where it is emptied at a document's end, too, the place is counted with
what fills documents up, of which there is more in longer segments.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from seqmem.config import RecallConfig, Recipe, TrainConfig
from seqmem.errors import SeqmemError
from seqmem.models.base import ModelConfig
from seqmem.ops import bind
from seqmem.schema import validated
from seqmem.train.bmi import check_fits
from seqmem.train.objective import Objective, objective_of


@dataclass(frozen=True)
class Stage:
    """A part of training.

    Args:
        first, last: its steps, counted from 1.
        lr: the rate that it comes to.
        objective: what its steps read and lose.
        config: the model's, under the lengths of the stage.
        training: the recipe's section with the batch size of the stage.
    """

    first: int
    last: int
    lr: float
    objective: Objective[Any]
    config: Any
    training: TrainConfig

    @property
    def row_len(self) -> int:
        """Tokens of a row of a batch, at most."""
        return self.objective.row_len(self.config)

    @property
    def tokens_a_step(self) -> int:
        return self.training.batch_size * self.row_len

    def __str__(self) -> str:
        batch = f"{self.training.batch_size} x {self.row_len:,} tokens"
        return f"steps {self.first:,} to {self.last:,}, {batch}, learning rate {self.lr:.5g}"


def stages_of(recipe: Recipe, vocab_size: int | None = None) -> list[Stage]:
    """The stages of a recipe, in order.

    Args:
        vocab_size: ids of text or sound; the recipe's when absent.

    Raises:
        SeqmemError: a stage has an unknown key or an illegal value, or changes a weight; or its batches are too small
            for ``train.bmi``.
    """
    objective, training = objective_of(recipe), recipe.train
    base = objective.model_config(recipe, vocab_size)
    if training.stages:
        stages = list(_one_after_the_other(recipe, objective, base))
    else:
        stages = [Stage(1, training.steps, training.lr, objective, base, training)]
    for stage in stages:
        check_fits(stage.training, stage.row_len)
    return stages


def _one_after_the_other(recipe: Recipe, objective: Objective[Any], base: Any) -> Iterator[Stage]:
    """The stages of a recipe that has some, the model ``base`` under other lengths in each."""
    training, steps = recipe.train, 0
    for number, stage in enumerate(training.stages):
        where = f"train.stages.{number}"
        config = _under(base, stage.model, objective, f"{where}.model")
        own = training.model_copy(update={"batch_size": stage.batch_size or training.batch_size})
        asking = _asking(recipe, stage.recall, f"{where}.recall") if stage.recall else objective
        yield Stage(steps + 1, steps + stage.steps, stage.lr, asking, config, own)
        steps += stage.steps


def stage_at(stages: Sequence[Stage], step: int) -> Stage:
    """The stage that ``step``, from 1, belongs to; the last one after its end."""
    return next((stage for stage in stages if step <= stage.last), stages[-1])


def tokens_read(stages: Sequence[Stage], step: int) -> int:
    """Tokens that training has read after ``step`` steps, at most."""
    return sum(stage.tokens_a_step * max(0, min(step, stage.last) - stage.first + 1) for stage in stages)


def _asking(recipe: Recipe, settings: dict[str, Any], where: str) -> Objective[Any]:
    """The recipe's objective with other settings of recall."""
    if not recipe.recall:
        raise SeqmemError(f"{where}: the recipe has no [recall]; leave it out")
    recall = validated(RecallConfig, recipe.recall.model_dump() | settings, where)
    return objective_of(recipe.model_copy(update={"recall": recall}))


def _under(base: Any, lengths: dict[str, Any], objective: Objective[Any], where: str) -> Any:
    """The configuration ``base`` with other lengths."""
    if not isinstance(base, ModelConfig):
        raise SeqmemError(f"{where}: only causal models are trained in stages; leave them out")
    config = validated(type(base), base.model_dump() | lengths, where)
    before, now = _shapes(base, objective), _shapes(config, objective)
    if changed := [name for name in before.keys() | now.keys() if before.get(name) != now.get(name)]:
        raise SeqmemError(f"{where} changes a weight, {min(changed)}; give lengths alone, as segment_len")
    return config


def _shapes(config: Any, objective: Objective[Any]) -> dict[str, torch.Size]:
    with torch.device("meta"):
        return {name: weight.shape for name, weight in objective.build(config, bind()).named_parameters()}

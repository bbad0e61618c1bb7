"""``compare.toml`` beside a recipe: which models to compare, each by the settings that make it from the recipe.

::

    title = "Does memory help?"
    seeds = [1, 2, 3]
    baseline = "transformer-xl"  # whose parameters, tokens and seconds the others are held to

    [all]
    train.steps = 1000  # instead of the recipe's

    [runs.control]
    model.mem_len = 0

    [runs.transformer-xl]
"""

import math
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from pydantic import Field, model_validator

from seqmem.config import Recipe
from seqmem.errors import SeqmemError, nearest
from seqmem.recipe import dotted, find_recipe, load_recipe
from seqmem.report.comparison import Budget
from seqmem.report.entries import check_comparable
from seqmem.report.runs import tokens_a_step
from seqmem.report.speed import Speed
from seqmem.schema import Section, validated

FILE_NAME = "compare.toml"


class ComparisonFile(Section):
    """What ``compare.toml`` holds."""

    title: str
    seeds: list[int] = Field(min_length=1)
    baseline: str
    all: dict[str, Any] = Field(default_factory=dict)
    runs: dict[str, dict[str, Any]] = Field(min_length=1)

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if self.baseline not in self.runs:
            raise ValueError(f"baseline '{self.baseline}' is not among [runs]{nearest(self.baseline, self.runs)}")
        for name in self.runs:
            if not re.fullmatch(r"\w[^/]*", name):
                raise ValueError(f"run '{name}' is to name a folder; begin with a letter or digit and leave out '/'")
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds {self.seeds}: one is named twice; leave it out")
        return self


@dataclass(frozen=True)
class Plan:
    """A comparison to be made.

    Args:
        source: the recipe as the user named it.
        folder: where recipe and comparison are kept.
        title, seeds, baseline: of the comparison.
        settings: of each entry, by dotted key.
        recipes: of each entry.
    """

    source: str
    folder: Path
    title: str
    seeds: list[int]
    baseline: str
    settings: dict[str, dict[str, Any]]
    recipes: dict[str, Recipe]

    @property
    def name(self) -> str:
        """The recipe's name."""
        return self.recipes[self.baseline].name

    def budget(self, speeds: Mapping[str, Speed]) -> Budget:
        """The tokens of the baseline's recipe, and the seconds it takes for them."""
        recipe = self.recipes[self.baseline]
        tokens = recipe.train.steps * tokens_a_step(recipe)
        return Budget(tokens, tokens / speeds[self.baseline].training)

    def steps(self, entry: str, budget: Budget, speed: Speed) -> int:
        """Steps after which ``entry`` can be read at both budgets: the first validation with enough tokens.

        Raises:
            SeqmemError: it is to be read before its first validation.
        """
        recipe = self.recipes[entry]
        eval_every = recipe.train.eval_every
        fewest, most = sorted(
            tokens / tokens_a_step(recipe) for tokens in (budget.tokens, budget.seconds * speed.training)
        )
        if fewest < eval_every - 0.5:
            raise SeqmemError(
                f"'{entry}' is to be read after {fewest:,.1f} steps, but its first validation is at step {eval_every}; "
                f"set its train.eval_every to {max(1, int(fewest))} or less"
            )
        # The baseline's seconds times its speed are its tokens but for rounding, which must not cost it a validation.
        return eval_every * math.ceil(most / eval_every * (1 - 1e-9))


def load_plan(source: str, data: str | None = None) -> Plan:
    """Read the ``compare.toml`` beside the recipe that ``source`` names.

    Args:
        source: the recipe's name or path.
        data: instead of the recipe's ``data.path``.

    Raises:
        SeqmemError: no such file; an unknown key or illegal value in it or in an entry's settings; entries that cannot
            be compared.
    """
    file = find_recipe(source).with_name(FILE_NAME)
    if not file.is_file():
        raise SeqmemError(f"recipe '{source}' has no {FILE_NAME} beside it; write {file}, or compare runs")
    try:
        values = tomllib.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:  # not UTF-8 or not TOML
        raise SeqmemError(f"{file}: not a comparison: {error}") from None
    content = validated(ComparisonFile, values, str(file))
    own = {name: dotted(table) for name, table in content.runs.items()}
    for name, changes in own.items():
        for key in ("train.seed", "train.steps"):
            if key in changes:
                raise SeqmemError(f"{file} [runs.{name}]: {key} is the same for all entries; remove it here")
    shared = dotted(content.all) | ({"data.path": data} if data else {})
    settings = {name: shared | changes for name, changes in own.items()}
    recipes = {name: _entry_recipe(source, f"{file} [runs.{name}]", settings[name]) for name in settings}
    check_comparable(recipes)
    return Plan(source, file.parent, content.title, content.seeds, content.baseline, settings, recipes)


def _entry_recipe(source: str, where: str, settings: dict[str, Any]) -> Recipe:
    try:
        recipe = load_recipe(source, settings)
        tokens_a_step(recipe)  # builds the model's configuration, and so finds what is wrong in it
    except SeqmemError as error:
        raise SeqmemError(f"{where}: {error}") from None
    if recipe.train.min_lr != recipe.train.lr:
        raise SeqmemError(
            f"{where}: a run is read at two budgets, so its learning rate must stay constant; "
            f"set train.min_lr = {recipe.train.lr}"
        )
    return recipe

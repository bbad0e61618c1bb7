"""A run as reports read it: its recipe, and its metrics over the tokens it has seen."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from seqmem.config import Recipe
from seqmem.data.codec import Codec
from seqmem.data.tokenizers import saved_tokenizer
from seqmem.data.tokens import Tokens, saved_tokens
from seqmem.data.vocabulary import Vocabulary
from seqmem.errors import SeqmemError
from seqmem.recipe import dotted, load_recipe
from seqmem.train.checkpoint import vocabulary_folder
from seqmem.train.objective import objective_of
from seqmem.train.stages import Stage, stages_of, tokens_read


@dataclass(frozen=True)
class RunRecord:
    """What is in a run folder's ``config.json`` and ``metrics.jsonl``.

    Args:
        path: the run folder.
        recipe: what it was trained by.
        records: one a logged step or validation, in order of steps.
    """

    path: Path
    recipe: Recipe
    records: Sequence[Mapping[str, Any]]

    @cached_property
    def tokens_a_step(self) -> int:
        """Tokens that a training step reads."""
        return tokens_a_step(self.recipe)

    @cached_property
    def _stages(self) -> list[Stage]:
        return stages_of(self.recipe)

    def series(self, key: str) -> tuple[np.ndarray, np.ndarray]:
        """Tokens seen and values, both ``[N]`` float64, of the N records in which ``key`` has a value."""
        points = [
            (tokens_read(self._stages, record["step"]), record[key])
            for record in self.records
            if record.get(key) is not None
        ]
        tokens, values = np.array(points, dtype=float).reshape(-1, 2).T
        return tokens, values


def read_run(path: Path) -> RunRecord:
    """Read a run folder, whether it is finished, interrupted or still training.

    Raises:
        SeqmemError: no such folder, or one in which nothing has been logged.
    """
    if not path.is_dir():
        raise SeqmemError(f"run '{path}' does not exist; name a run folder (runs/RECIPE/TIME)")
    log, config = path / "metrics.jsonl", path / "config.json"
    if not log.is_file() or not config.is_file():
        raise SeqmemError(f"run '{path}' has no metrics.jsonl and config.json; name a run folder (runs/RECIPE/TIME)")
    lines = log.read_text().splitlines(keepends=True)
    # The last line of a killed run can be half a record.
    records = [json.loads(line) for line in lines if line.endswith("\n")]
    if not records:
        raise SeqmemError(f"run '{path}' has logged nothing yet; let it train for train.log_every steps")
    return RunRecord(path, load_recipe(str(config)), records)


def read_data(path: Path, recipe: Recipe) -> tuple[Vocabulary, Tokens]:
    """The tokenizer or codec in a run folder of ``recipe``, and what was trained and validated on, in its tokens.

    Raises:
        SeqmemError: the run folder has them no more.
    """
    folder = path / "tokens"
    if not folder.is_dir():
        raise SeqmemError(f"run '{path}' has no folder tokens; make it anew by seqmem train --resume {path}")
    vocabulary = (Codec.load if recipe.codec else saved_tokenizer)(path / vocabulary_folder(recipe))
    return vocabulary, saved_tokens(folder, vocabulary, recipe.data)


def tokens_a_step(recipe: Recipe) -> int:
    """Tokens that a training step of ``recipe`` reads, at most: rows of a batch times their length."""
    objective = objective_of(recipe)
    return recipe.train.batch_size * objective.row_len(objective.model_config(recipe))


def settings_of(recipe: Recipe) -> dict[str, Any]:
    """What bears on training but its length and seed, by dotted key; equal for the seeds of one entry."""
    bearing = recipe.model_dump(
        mode="json", exclude={"name": True, "description": True, "generate": True, "train": {"seed", "steps"}}
    )
    return dotted(bearing)


def short_labels(paths: Sequence[Path]) -> list[str]:
    """What tells folders apart: each path without the beginning that all have in common; its name if it is alone.

    Raises:
        SeqmemError: the same folder twice.
    """
    folders = [path.resolve() for path in paths]
    for index, folder in enumerate(folders):
        if folder in folders[:index]:
            raise SeqmemError(f"run '{paths[index]}' is named twice; leave one out")
    shared = Path(os.path.commonpath([folder.parent for folder in folders]))
    return [folder.relative_to(shared).as_posix() for folder in folders]

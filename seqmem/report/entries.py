"""The entries of a comparison: runs that differ in their seed alone, and what all entries must have equal."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from seqmem.config import Recipe
from seqmem.data.audio_tokens import AudioCorpus
from seqmem.errors import SeqmemError
from seqmem.report.runs import RunRecord, read_data, settings_of, short_labels
from seqmem.report.speed import Speed


@dataclass(frozen=True)
class Entry:
    """A model in the comparison: a name, one run a seed, and its speed."""

    name: str
    runs: Sequence[RunRecord]
    speed: Speed


def group_by_seed(runs: Sequence[RunRecord]) -> dict[str, list[RunRecord]]:
    """Runs that differ in nothing but ``train.seed``, by a short name: their folder's, or that of the one run.

    Raises:
        SeqmemError: two runs of one seed.
    """
    groups: list[list[RunRecord]] = []
    for run in runs:
        group = next((group for group in groups if _is_seed_of(run, group[0])), None)
        if group is None:
            groups.append([run])
            continue
        for other in group:
            if other.recipe.train.seed == run.recipe.train.seed:
                raise SeqmemError(
                    f"runs '{other.path}' and '{run.path}' have the same settings and seed; leave one out"
                )
        group.append(run)
    folders = [Path(os.path.commonpath([run.path.absolute() for run in group])) for group in groups]
    are_distinct = len(set(folders)) == len(folders)
    names = short_labels(folders if are_distinct else [group[0].path for group in groups])
    return dict(zip(names, groups, strict=True))


def check_comparable(recipes: Mapping[str, Recipe]) -> None:
    """Refuse what the protocol cannot compare.

    That is encoders; recall; training in stages, which has no one speed; and recipes that are not measured on the same
    tokens in the same way, by the same number of threads.
    """
    for name, recipe in recipes.items():
        if recipe.is_encoder:
            raise SeqmemError(f"'{name}' is an encoder, which cannot generate; compare causal models")
        if recipe.recall:
            raise SeqmemError(f"'{name}' answers questions, which the protocol does not count; use seqmem plot")
        if recipe.train.stages:
            raise SeqmemError(f"'{name}' is trained in stages, which are not of one speed; leave out train.stages")
    first, *others = recipes.items()
    for name, recipe in others:
        if changed := [key for key, value in _protocol(recipe).items() if value != _protocol(first[1]).get(key)]:
            raise SeqmemError(f"'{first[0]}' and '{name}' differ in {' and '.join(changed)}; compare what has it equal")


def check_same_text(runs: Sequence[RunRecord]) -> None:
    """Refuse runs of which some found other files in ``data.path`` than the first, though their recipes are equal."""
    first, *others = [(run.path, _text(run)) for run in runs]
    for path, text in others:
        if changed := [key for key, value in text.items() if value != first[1][key]]:
            raise SeqmemError(
                f"runs '{first[0]}' and '{path}' differ in {' and '.join(changed)}: "
                f"their data has changed in between; train both on the same"
            )


def _is_seed_of(run: RunRecord, other: RunRecord) -> bool:
    same_length = run.recipe.train.steps == other.recipe.train.steps
    return same_length and settings_of(run.recipe) == settings_of(other.recipe)


def _protocol(recipe: Recipe) -> dict[str, object]:
    return {
        "data": recipe.data,
        **({"codec": recipe.codec} if recipe.codec else {"tokenizer": recipe.tokenizer}),
        "eval.batch_size": recipe.eval.batch_size,
        "eval.at_document_end": recipe.at_document_end_in_eval,
        "train.num_threads": recipe.train.num_threads,
    }


def _text(run: RunRecord) -> dict[str, object]:
    vocabulary, corpus = read_data(run.path, run.recipe)
    if isinstance(corpus, AudioCorpus):
        return {"sounds": corpus.store.digest}
    return {"tokenizer": vocabulary.hash, "length of the validation split": len(corpus.splits["validation"])}

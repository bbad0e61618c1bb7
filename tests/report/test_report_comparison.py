"""Every number of the table, from metrics made by hand."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from seqmem.config import CodecConfig, Recipe, TokenizerConfig
from seqmem.data.audio_report import Report
from seqmem.data.audio_store import write
from seqmem.data.audio_tokens import AudioCorpus
from seqmem.data.byte_tokenizer import ByteTokenizer
from seqmem.data.codec import Codec
from seqmem.data.corpus import Corpus
from seqmem.data.sources.source import Text
from seqmem.data.store.build import tokenized
from seqmem.data.tokenizer import Tokenizer
from seqmem.errors import SeqmemError
from seqmem.report.comparison import Budget, Comparison, Row, Sample, common_budget
from seqmem.report.curve import ValidationCurve
from seqmem.report.entries import Entry, check_comparable, check_same_text, group_by_seed
from seqmem.report.runs import RunRecord
from seqmem.report.speed import Machine

Run = Callable[..., RunRecord]
MakeEntry = Callable[..., Entry]


def compare(*entries: Entry, tokens: int, seconds: float) -> Comparison:
    machine = Machine(processor="abacus", num_cores=2, num_threads=1, torch="2")
    return Comparison("Title", entries[0].name, Budget(tokens, seconds), entries, machine, "Text.", "Cost.")


def row(comparison: Comparison, name: str) -> Row:
    return next(row for row in comparison.rows if row.name == name)


def test_a_run_is_read_on_the_line_between_two_validations(run: Run):
    curve = ValidationCurve(run("one", {10: 4.0, 20: 3.0, 30: 2.9}))
    assert curve.nats_at(160) == 4.0
    assert curve.nats_at(200) == pytest.approx(3.75)
    assert curve.bits_at(200) == pytest.approx(3.75 / 2)
    assert curve.word_perplexity_at(200) == pytest.approx(math.exp(3.75 * 1.25))
    assert curve.nats_at(480) == 2.9


@pytest.mark.parametrize("tokens", [100, 500])
def test_a_run_is_not_read_where_it_was_not_validated(run: Run, tokens: int):
    curve = ValidationCurve(run("one", {10: 4.0, 30: 3.0}))
    with pytest.raises(SeqmemError, match=f"between 160 and 480 tokens and cannot be read at {tokens}"):
        curve.nats_at(tokens)


def test_a_run_without_validation_is_refused(run: Run):
    with pytest.raises(SeqmemError, match="has no validation yet"):
        ValidationCurve(run("one", {}))


def test_a_perplexity_beyond_numbers_is_infinite(run: Run):
    curve = ValidationCurve(run("one", {10: 600.0, 20: 4.0}))
    assert curve.word_perplexity_at(160) == math.inf
    assert curve.word_perplexity_at(320) == pytest.approx(math.exp(5.0))


def test_a_row_reads_every_seed_at_both_budgets(run: Run, entry: MakeEntry):
    first = run("1", {10: 4.0, 20: 3.0}, seed=1, memory_mb=(100, 120))
    second = run("2", {10: 4.4, 20: 3.4}, seed=2, memory_mb=(90, 130))
    comparison = compare(entry("fast", first, second, training=30.0), tokens=160, seconds=8.0)
    fast = row(comparison, "fast")
    assert fast.seeds == (1, 2)
    assert fast.at_tokens.bits.values == pytest.approx((2.0, 2.2))
    assert fast.at_tokens.bits.mean == pytest.approx(2.1)
    assert fast.at_tokens.bits.std == pytest.approx(math.sqrt(2 * 0.1**2))
    assert fast.at_tokens.word_perplexity.values == pytest.approx((math.exp(5.0), math.exp(5.5)))
    assert fast.tokens_in_equal_seconds == 240
    assert fast.at_seconds.bits.values == pytest.approx((1.75, 1.95))
    assert fast.at_seconds.word_perplexity.values == pytest.approx((math.exp(4.375), math.exp(4.875)))
    assert (fast.training, fast.generation, fast.memory_mb) == (30.0, 3.0, 130)
    assert fast.seconds.values == (10.0, 10.0)


def test_audio_is_read_in_bits_a_sample(run: Run, entry: MakeEntry):
    coded = {"codec": {"kind": "two-byte"}}
    wavenet = entry(
        "wavenet", *(run(f"w/{seed}", {10: 4.0, 20: 3.0}, seed=seed, **coded) for seed in (1, 2)), training=30.0
    )
    other = entry("other", run("o", {10: 3.0, 20: 2.0}, **coded), training=30.0)
    comparison = compare(wavenet, other, tokens=160, seconds=8.0)
    assert comparison.measure.label == "bits/sample"
    found = row(comparison, "other")
    assert found.at_tokens.bits.values == (1.5,)
    assert found.at_tokens.word_perplexity is None
    assert found.at_seconds.bits.mean == pytest.approx(1.25)
    assert found.at_tokens.relative_to(comparison.baseline_row.at_tokens) == -0.5
    assert found.generation == 30.0 / 10 / 2  # two tokens a sample
    assert found.curve[1].tolist() == [1.5, 1.0]


def test_one_seed_has_no_spread():
    assert Sample((1.0,)).std is None
    assert Sample((1.0, math.inf)).std is None


def test_rows_are_sorted_and_parameters_held_to_the_baseline(run: Run, entry: MakeEntry):
    worse = entry("baseline", run("a", {10: 4.0}), num_parameters=1000, training=20)
    better = entry("better", run("b", {10: 3.0}), num_parameters=1019, training=20)
    larger = entry("larger", run("c", {10: 3.5}), num_parameters=1021, training=20)
    comparison = compare(worse, better, larger, tokens=160, seconds=8)
    assert [row.name for row in comparison.rows] == ["better", "larger", "baseline"]
    assert [row.parameters_ratio for row in comparison.rows] == pytest.approx([1.019, 1.021, 1.0])
    assert [row.name for row in comparison.rows if not row.is_matched] == ["larger"]


def test_runs_are_compared_at_what_all_of_them_have(run: Run, entry: MakeEntry):
    short = entry("short", run("a", {10: 4.0, 20: 3.0}), training=10.0)
    long = entry("long", run("b", {10: 4.0, 40: 3.0}), run("c", {10: 4.0, 30: 3.0}, seed=2), training=40.0)
    assert common_budget([short, long]) == Budget(tokens=320, seconds=12.0)


def test_only_a_falling_rate_is_read_midway(run: Run, entry: MakeEntry):
    falling = {"steps": 20, "lr": 1e-3, "min_lr": 0.0}
    entries = (
        entry("constant", run("a", {10: 4.0, 20: 3.0}, steps=20), training=20),
        entry("early", run("b", {10: 4.0, 20: 3.0}, **falling), training=16),
        entry("at its end", run("c", {10: 4.0, 20: 3.0}, **falling), training=32),
    )
    assert compare(*entries, tokens=320, seconds=10).midway == ["early"]
    assert compare(*entries, tokens=200, seconds=10).midway == ["early", "at its end"]


def test_the_mean_curve_is_over_the_seeds_that_were_validated(run: Run, entry: MakeEntry):
    seeds = entry("one", run("a", {10: 4.0, 20: 3.0}), run("b", {10: 3.0, 20: 2.0, 30: 1.0}, seed=2))
    tokens, bits = row(compare(seeds, tokens=160, seconds=1.6), "one").curve
    assert tokens.tolist() == [160, 320]
    assert bits.tolist() == [1.75, 1.25]


def test_runs_that_differ_in_their_seed_are_one_entry(run: Run):
    runs = [run("xl/1", {}, seed=1), run("xl/2", {}, seed=2), run("wide/1", {}, model={"d_model": 16})]
    groups = {name: [run.path.name for run in group] for name, group in group_by_seed(runs).items()}
    assert groups == {"xl": ["1", "2"], "wide/1": ["1"]}


def test_entries_in_one_folder_are_called_by_their_first_run(run: Run):
    runs = [run("a", {}), run("b", {}, seed=2), run("c", {}, lr=0.5), run("d", {}, lr=0.5, seed=2)]
    assert list(group_by_seed(runs)) == ["a", "c"]


def test_the_same_seed_twice_is_refused(run: Run):
    with pytest.raises(SeqmemError, match="same settings and seed"):
        group_by_seed([run("a", {}), run("b", {})])


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"tokenizer": {"vocab_size": 400}}, "tokenizer"),
        ({"codec": {}, "data": {"corpus": "sine"}}, "data and codec"),
        ({"eval": {"batch_size": 3}}, "eval.batch_size"),
        ({"train": {"at_document_end": "reset"}}, "eval.at_document_end"),
        ({"train": {"num_threads": 7}}, "train.num_threads"),
    ],
)
def test_what_was_measured_otherwise_is_not_compared(recipe: Callable[..., Recipe], change: dict, named: str):
    other = Recipe.model_validate(recipe().model_dump(exclude=set(change)) | change)
    with pytest.raises(SeqmemError, match=rf"'a' and 'b' differ in {named}"):
        check_comparable({"a": recipe(), "b": other})


@pytest.mark.parametrize(
    ("change", "named"), [({"codec": {"levels": 64}}, "codec"), ({"data": {"corpus": "plucked-strings"}}, "data")]
)
def test_sounds_are_compared_through_one_codec(recipe: Callable[..., Recipe], change: dict, named: str):
    first = recipe(codec={})
    other, tokenized = (
        Recipe.model_validate(first.model_dump(exclude=set(changed)) | changed)
        for changed in (change, {"tokenizer": {"vocab_size": 400}})
    )
    check_comparable({"a": first, "b": tokenized})
    with pytest.raises(SeqmemError, match=rf"'a' and 'b' differ in {named};"):
        check_comparable({"a": first, "b": other})


def put_text(folder: Path, text: str, length: int) -> None:
    """What a run that found ``text`` leaves, with ``length`` tokens of validation."""
    Tokenizer.train([text], TokenizerConfig(kind="bpe", vocab_size=270)).save(folder / "tokenizer")
    splits = {key: [Text("text", "x" * length)] for key in ("train", "validation", "test")}
    tokenized(Corpus("text", str(length), "1", lambda: (splits, "A text.")), ByteTokenizer()).save(folder / "tokens")


def test_runs_on_text_that_changed_in_between_are_not_compared(run: Run):
    first, same, longer, other = (run(name, {}) for name in ("first", "same", "longer", "other"))
    put_text(first.path, "one two three four", 9)
    put_text(same.path, "one two three four", 9)
    put_text(longer.path, "one two three four", 10)
    put_text(other.path, "five six seven eight", 9)
    check_same_text([first, same])
    with pytest.raises(SeqmemError, match=r"first' and '.*longer' differ in length of the validation split: "):
        check_same_text([first, same, longer])
    with pytest.raises(SeqmemError, match=r"first' and '.*other' differ in tokenizer: "):
        check_same_text([first, other])


def put_sound(folder: Path, store: Path, level: int) -> None:
    """What a run that found a sound of ``level`` in ``store`` leaves."""
    codec = Codec(CodecConfig(sample_rate=8000))
    codec.save(folder / "codec")
    sounds = {split: [("one", [np.full(9, level, np.int16)])] for split in ("train", "validation", "test")}
    report = Report(8000, "", 1, {}, {}, [], 0.0, 0.0, 0.0, 0.0, [])
    AudioCorpus.build(write(store, 8000, sounds, "A sound.", "", report), codec).save(folder / "tokens")


def test_runs_on_sounds_that_changed_in_between_are_not_compared(run: Run, tmp_path: Path):
    first, same, other = (run(name, {}, codec={"sample_rate": 8000}) for name in ("first", "same", "other"))
    put_sound(first.path, tmp_path / "a", 5)
    put_sound(same.path, tmp_path / "b", 5)
    put_sound(other.path, tmp_path / "c", 6)
    check_same_text([first, same])
    with pytest.raises(SeqmemError, match=r"first' and '.*other' differ in sounds: "):
        check_same_text([first, other])


def test_a_run_without_its_text_is_not_compared(run: Run):
    only, bare = run("only", {}), run("bare", {})
    put_text(only.path, "one two three four", 9)
    Tokenizer.load(only.path / "tokenizer").save(bare.path / "tokenizer")
    with pytest.raises(SeqmemError, match=r"bare' has no folder tokens; make it anew"):
        check_same_text([only, bare])

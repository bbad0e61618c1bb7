"""The table as text."""

import csv
import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest

from seqmem.errors import SeqmemError
from seqmem.report.comparison import Budget, Comparison
from seqmem.report.entries import Entry
from seqmem.report.expected import Expected
from seqmem.report.runs import RunRecord
from seqmem.report.speed import Machine
from seqmem.report.table import markdown, save


@pytest.fixture
def comparison(run: Callable[..., RunRecord], entry: Callable[..., Entry]) -> Comparison:
    """Two entries of two seeds each, the second of them faster and larger."""
    falling = {"min_lr": 0.0, "steps": 40}
    slow = [run(f"slow/{seed}", {10: 4.0 + 0.2 * seed, 20: 3.0}, seed=seed) for seed in (1, 2)]
    fast = [run(f"fast/{seed}", {10: 4.0, 30: 3.0}, seed=seed, **falling) for seed in (1, 2)]
    return Comparison(
        title="Who wins?",
        baseline="slow",
        budget=Budget(160, 16.0),
        entries=[entry("slow", *slow, training=10), entry("fast", *fast, training=20, num_parameters=1500)],
        machine=Machine(processor="abacus", num_cores=2, num_threads=1, torch="2.12"),
        text="A text.",
        cost="It took a while.",
    )


def test_markdown_shows_the_table_and_how_it_came_about(comparison: Comparison):
    title, table, protocol, unmatched, midway = markdown(comparison).strip().split("\n\n")
    assert title == "# Who wins?"
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]
    assert [line[0] for line in cells] == ["model", "-----", "fast", "slow"]
    assert cells[2][:4] == ["fast", "1,500 (150.0%)*", "2.0000 ± 0.0000", "148.4 ± 0.0"]
    assert cells[2][4:] == ["1.7500 ± 0.0000", "79.4 ± 0.0", "20", "2", "500", "15"]
    assert cells[3][2:5] == ["2.1500 ± 0.0707", "217.6 ± 38.3", "2.1500 ± 0.0707"]
    assert cells[3][5] == "217.6 ± 38.3"
    assert len({len(line) for line in table.splitlines()}) == 1
    for said in ("A text.", "160 training tokens", "16 s", "seeds 1, 2", "abacus, 2 cores, 1 thread a run, torch 2.12"):
        assert said in protocol
    assert unmatched == "* parameters more than 2% off those of slow: fast (+50.0%)."
    assert midway.startswith("Read in mid-schedule, before the learning rate had come down: fast.")


def test_files_hold_the_numbers(comparison: Comparison, tmp_path: Path):
    save(comparison, tmp_path / "out")
    whole = json.loads((tmp_path / "out/compare.json").read_text())
    assert whole["budget"] == {"tokens": 160, "seconds": 16.0}
    fast, slow = whole["entries"]
    assert slow["bits_per_byte"]["values"] == pytest.approx([2.1, 2.2])
    assert fast["tokens_in_equal_seconds"] == 320
    assert fast["word_perplexity_equal_seconds"]["values"] == pytest.approx([math.exp(3.5 * 1.25)] * 2)
    rows = list(csv.DictReader((tmp_path / "out/compare.csv").open()))
    assert [row["name"] for row in rows] == ["fast", "slow"]
    assert float(rows[1]["bits_per_byte"]) == pytest.approx(2.15)
    assert float(rows[1]["bits_per_byte_std"]) == pytest.approx(0.1 / math.sqrt(2))
    assert float(rows[0]["word_perplexity_equal_seconds"]) == pytest.approx(math.exp(3.5 * 1.25))
    assert rows[1]["seeds"] == "1 2"


def test_an_infinite_perplexity_is_null_in_json(comparison: Comparison, tmp_path: Path):
    for run in comparison.entries[0].runs:
        for record in run.records:
            record.pop("validation_word_perplexity", None)
    save(comparison, tmp_path)
    slow = json.loads((tmp_path / "compare.json").read_text())["entries"][1]
    assert slow["word_perplexity"] == {"mean": None, "std": None, "values": [None, None]}
    assert " inf " in (tmp_path / "compare.md").read_text()


@pytest.fixture
def of_sound(run: Callable[..., RunRecord], entry: Callable[..., Entry]) -> Comparison:
    """WaveNet, and another model that is better at equal samples and worse at equal seconds."""
    coded = {"codec": {"kind": "two-byte"}}
    wavenet = [run(f"w/{seed}", {10: 4.0 + 0.2 * seed, 20: 3.0}, seed=seed, **coded) for seed in (1, 2)]
    other = [run(f"o/{seed}", {5: 5.0, 10: 4.0}, seed=seed, **coded) for seed in (1, 2)]
    return Comparison(
        title="Who sings?",
        baseline="wavenet",
        budget=Budget(160, 16.0),
        entries=[entry("wavenet", *wavenet, training=20), entry("an other", *other, training=5)],
        machine=Machine(processor="abacus", num_cores=2, num_threads=1, torch="2.12"),
        text="A sound.",
        cost="It took a while.",
        sounds={"an other": Path("samples/an other.wav")},
    )


def test_audio_is_tabled_relative_to_the_baseline(of_sound: Comparison):
    _, table, link, picture, protocol = markdown(of_sound).strip().split("\n\n")
    headings, _, other, wavenet = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]
    assert headings[2:8] == [
        "bits/sample, equal samples",
        "relative to wavenet, equal samples",
        "bits/sample, equal seconds",
        "relative to wavenet, equal seconds",
        "training, tokens/s",
        "generation, samples/s",
    ]
    assert other[2:8] == ["2.0000 ± 0.0000", "-0.1500", "2.5000 ± 0.0000", "+1.0000", "5", "0"]
    assert wavenet[2:8] == ["2.1500 ± 0.0707", "+0.0000", "1.5000 ± 0.0000", "+0.0000", "20", "1"]
    assert (link, picture) == ("[an other](samples/an%20other.wav):", "![an other](samples/an%20other.png)")
    assert "Equal samples: every run read after 80 training samples" in protocol
    assert "Relative to wavenet: the difference of the means, in bits/sample." in protocol


def test_files_of_audio_hold_no_words(of_sound: Comparison, tmp_path: Path):
    save(of_sound, tmp_path)
    other, _ = json.loads((tmp_path / "compare.json").read_text())["entries"]
    assert other["bits_per_sample"]["values"] == [2.0, 2.0]
    assert other["bits_per_sample_relative"] == pytest.approx(-0.15)
    assert other["bits_per_sample_equal_seconds_relative"] == 1.0
    assert other["generation_samples_per_second"] == 0.25
    assert not [key for key in other if "word" in key or "byte" in key]
    rows = list(csv.DictReader((tmp_path / "compare.csv").open()))
    assert float(rows[0]["bits_per_sample"]) == 2.0


def test_what_is_expected_of_audio_is_in_bits_a_sample(of_sound: Comparison, tmp_path: Path):
    Expected.of(of_sound).save(tmp_path)
    whole = json.loads((tmp_path / "expected.json").read_text())
    assert whole == {
        "tolerance_bits_per_sample": 0.1,
        "data": "sine",
        "entries": {"an other": 2.0, "wavenet": 2.15},
        "peak_memory_mb": {"an other": 500, "wavenet": 500},
    }
    expected = Expected(tolerance_bits_per_sample=0.1, data="sine", entries={"an other": 2.0, "wavenet": 2.3})
    assert expected.verdict(of_sound) == (
        "Not within 0.1 bits/sample of expected.json: wavenet 2.1500 instead of 2.3000."
    )


def test_what_is_expected_can_be_written_and_met(comparison: Comparison, tmp_path: Path):
    Expected.of(comparison).save(tmp_path)
    expected = Expected.load(tmp_path)
    entries, memory = {"fast": 2.0, "slow": 2.15}, {"fast": 500, "slow": 500}
    assert expected == Expected(tolerance_bits_per_byte=0.02, data="kjv", entries=entries, peak_memory_mb=memory)
    assert expected.verdict(comparison) == "All entries are within 0.02 bits/byte of expected.json."


def test_what_is_not_as_expected_is_named(comparison: Comparison):
    expected = Expected(tolerance_bits_per_byte=0.1, data="kjv", entries={"fast": 2.09, "slow": 2.3, "gone": 1.0})
    assert expected.verdict(comparison) == (
        "Not within 0.1 bits/byte of expected.json: slow 2.1500 instead of 2.3000; gone is on one side only."
    )


def test_what_is_expected_of_other_data_is_not_held_against_it(comparison: Comparison):
    expected = Expected(tolerance_bits_per_byte=0.1, data="enwik8", entries={"fast": 1.0, "slow": 1.0})
    assert expected.verdict(comparison) == ("expected.json has what enwik8 gives, this is kjv: nothing to hold it to.")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"data": "kjv", "entries": 3}', "key 'entries' = 3: input should be a valid dictionary"),
        (
            '{"data": "kjv", "entries": {}, "tolerance": 1}',
            "unknown key 'tolerance'; did you mean 'tolerance_bits_per_byte'",
        ),
        ("3", "not an expectation: .* write it again"),
        ("{", "not an expectation: .* write it again"),
    ],
)
def test_a_spoilt_expectation_is_refused(tmp_path: Path, text: str, reason: str):
    assert Expected.load(tmp_path) is None
    (tmp_path / "expected.json").write_text(text)
    with pytest.raises(SeqmemError, match=rf"expected\.json: {reason}"):
        Expected.load(tmp_path)

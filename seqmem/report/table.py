"""A comparison as text: the table in Markdown and CSV, all numbers in JSON."""

import csv
import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any
from urllib.parse import quote

from seqmem.report.comparison import PARAMETER_TOLERANCE, Comparison, Reading, Row, Sample

MARK = "*"


def save(comparison: Comparison, folder: Path) -> None:
    """Write ``compare.md``, ``compare.csv`` and ``compare.json`` into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "compare.md").write_text(markdown(comparison), encoding="utf-8")
    (folder / "compare.json").write_text(json.dumps(to_json(comparison), indent=2) + "\n")
    rows = [_flat(_row_json(comparison, row)) for row in comparison.rows]
    with (folder / "compare.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def markdown(comparison: Comparison) -> str:
    """Title, table, sounds, protocol and notes."""
    parts = [f"# {comparison.title}", _table(comparison), *_sounds(comparison), protocol(comparison)]
    return "\n\n".join([*parts, *notes(comparison)]) + "\n"


def to_json(comparison: Comparison) -> dict[str, Any]:
    """Everything, with one value a seed."""
    return {
        "title": comparison.title,
        "baseline": comparison.baseline,
        "budget": asdict(comparison.budget),
        "machine": comparison.machine.model_dump(),
        "protocol": protocol(comparison),
        "notes": notes(comparison),
        "entries": [_row_json(comparison, row) for row in comparison.rows],
    }


def protocol(comparison: Comparison) -> str:
    """How the numbers came about."""
    measure, seconds = comparison.measure, comparison.budget.seconds
    things, num_things = measure.things, comparison.budget.tokens // measure.tokens_a_thing
    seeds = sorted({seed for row in comparison.rows for seed in row.seeds})
    spread = f"; ± is the standard deviation over seeds {', '.join(map(str, seeds))}" if len(seeds) > 1 else ""
    relative = f" Relative to {comparison.baseline}: the difference of the means, in {measure.label}."
    return (
        f"{comparison.text} Equal {things}: every run read after {num_things:,} training {things}; equal seconds: "
        f"after the {things} its model gets through in {seconds:,.0f} s at the training speed of the table. Speeds are "
        f"measured side by side in one process. Between two validations, runs are read on the straight line in "
        f"nats/token{spread}.{'' if measure.has_words else relative} {comparison.machine}. {comparison.cost}"
    )


def notes(comparison: Comparison) -> list[str]:
    """What a reader must know about single rows."""
    unmatched = [f"{row.name} ({row.parameters_ratio - 1:+.1%})" for row in comparison.rows if not row.is_matched]
    notes = []
    if unmatched:
        off = f"more than {PARAMETER_TOLERANCE:.0%} off those of {comparison.baseline}"
        notes.append(f"{MARK} parameters {off}: {', '.join(unmatched)}.")
    if comparison.midway:
        notes.append(
            f"Read in mid-schedule, before the learning rate had come down: {', '.join(comparison.midway)}. "
            "A run planned for exactly that length would end better."
        )
    return notes


def _sounds(comparison: Comparison) -> list[str]:
    """A link to each entry's sound, above its picture."""
    found = [(row.name, comparison.sounds[row.name]) for row in comparison.rows if row.name in comparison.sounds]
    return [
        f"[{name}]({quote(sound.as_posix())}):\n\n![{name}]({quote(sound.with_suffix('.png').as_posix())})"
        for name, sound in found
    ]


def _table(comparison: Comparison) -> str:
    """The rows under their headings, in columns that line up as plain text too."""
    lines = [_cells(comparison, row) for row in comparison.rows]
    cells = [list(lines[0]), *(list(line.values()) for line in lines)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    aligned = [
        " | ".join([first.ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(rest, widths[1:], strict=True))])
        for first, *rest in (cells[0], rule, *cells[1:])
    ]
    return "\n".join(f"| {line} |" for line in aligned)


def _cells(comparison: Comparison, row: Row) -> dict[str, str]:
    """A line of the table, by its headings."""
    things, baseline = comparison.measure.things, comparison.baseline_row
    return {
        "model": row.name,
        "parameters": f"{row.num_parameters:,} ({row.parameters_ratio:.1%}){'' if row.is_matched else MARK}",
        **_reading_cells(comparison, f"equal {things}", row.at_tokens, baseline.at_tokens),
        **_reading_cells(comparison, "equal seconds", row.at_seconds, baseline.at_seconds),
        "training, tokens/s": f"{row.training:,.0f}",
        f"generation, {things}/s": f"{row.generation:,.0f}",
        "peak memory, MB": f"{row.memory_mb:,.0f}",
        "trained, s": f"{row.seconds.mean:,.0f}",
    }


def _reading_cells(comparison: Comparison, budget: str, reading: Reading, baseline: Reading) -> dict[str, str]:
    """Bits, then word-level perplexity or, where there are no words, what bits are relative to the baseline's."""
    cells = {f"{comparison.measure.label}, {budget}": _with_spread(reading.bits, 4)}
    if reading.word_perplexity:
        return cells | {f"word perplexity, {budget}": _with_spread(reading.word_perplexity, 1)}
    return cells | {f"relative to {comparison.baseline}, {budget}": f"{reading.relative_to(baseline):+.4f}"}


def _with_spread(sample: Sample, digits: int) -> str:
    mean = f"{sample.mean:,.{digits}f}"
    return mean if sample.std is None else f"{mean} ± {sample.std:.{digits}f}"


def _row_json(comparison: Comparison, row: Row) -> dict[str, Any]:
    key, baseline = comparison.measure.key, comparison.baseline_row
    return {
        "name": row.name,
        "seeds": list(row.seeds),
        "num_parameters": row.num_parameters,
        "parameters_ratio": row.parameters_ratio,
        **_reading_json(key, "", row.at_tokens, baseline.at_tokens),
        **_reading_json(key, "_equal_seconds", row.at_seconds, baseline.at_seconds),
        "tokens_in_equal_seconds": row.tokens_in_equal_seconds,
        "training_tokens_per_second": row.training,
        f"generation_{comparison.measure.things}_per_second": row.generation,
        "peak_memory_mb": row.memory_mb,
        "seconds": _sample_json(row.seconds),
    }


def _reading_json(key: str, budget: str, reading: Reading, baseline: Reading) -> dict[str, Any]:
    bits = {f"{key}{budget}": _sample_json(reading.bits)}
    if reading.word_perplexity:
        return bits | {f"word_perplexity{budget}": _sample_json(reading.word_perplexity)}
    return bits | {f"{key}{budget}_relative": reading.relative_to(baseline)}


def _sample_json(sample: Sample) -> dict[str, Any]:
    """Mean, spread and values; JSON cannot say infinite, which a perplexity can be, so that it is null."""
    mean, *values = (value if math.isfinite(value) else None for value in (sample.mean, *sample.values))
    return {"mean": mean, "std": sample.std, "values": values}


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    """Without the values of single seeds: a sample becomes two columns."""
    flat: dict[str, Any] = {}
    for key, value in row.items():
        if isinstance(value, dict):
            flat |= {key: value["mean"], f"{key}_std": value["std"]}
        else:
            flat[key] = " ".join(map(str, value)) if isinstance(value, list) else value
    return flat

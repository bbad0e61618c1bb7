"""A comparison as text: the table in Markdown and CSV, all numbers in JSON."""

import csv
import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from seqmem.report.comparison import PARAMETER_TOLERANCE, Comparison, Row, Sample

MARK = "*"
HEADINGS = (
    "model",
    "parameters",
    "bits/byte, equal tokens",
    "word perplexity, equal tokens",
    "bits/byte, equal seconds",
    "word perplexity, equal seconds",
    "training, tokens/s",
    "generation, tokens/s",
    "peak memory, MB",
    "trained, s",
)


def save(comparison: Comparison, folder: Path) -> None:
    """Write ``compare.md``, ``compare.csv`` and ``compare.json`` into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "compare.md").write_text(markdown(comparison), encoding="utf-8")
    (folder / "compare.json").write_text(json.dumps(to_json(comparison), indent=2) + "\n")
    rows = [_flat(_row_json(row)) for row in comparison.rows]
    with (folder / "compare.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def markdown(comparison: Comparison) -> str:
    """Title, table, protocol and notes."""
    parts = [f"# {comparison.title}", _table(comparison.rows), protocol(comparison), *notes(comparison)]
    return "\n\n".join(parts) + "\n"


def to_json(comparison: Comparison) -> dict[str, Any]:
    """Everything, with one value a seed."""
    return {
        "title": comparison.title,
        "baseline": comparison.baseline,
        "budget": asdict(comparison.budget),
        "machine": comparison.machine.model_dump(),
        "protocol": protocol(comparison),
        "notes": notes(comparison),
        "entries": [_row_json(row) for row in comparison.rows],
    }


def protocol(comparison: Comparison) -> str:
    """How the numbers came about."""
    tokens, seconds = comparison.budget.tokens, comparison.budget.seconds
    seeds = sorted({seed for row in comparison.rows for seed in row.seeds})
    spread = f"; ± is the standard deviation over seeds {', '.join(map(str, seeds))}" if len(seeds) > 1 else ""
    return (
        f"{comparison.text} Equal tokens: every run read after {tokens:,} training tokens; equal seconds: after the "
        f"tokens its model gets through in {seconds:,.0f} s at the training speed of the table. Speeds are measured "
        f"side by side in one process. Between two validations, runs are read on the straight line in nats/token"
        f"{spread}. {comparison.machine}. {comparison.cost}"
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


def _table(rows: Sequence[Row]) -> str:
    """The rows under :data:`HEADINGS`, in columns that line up as plain text too."""
    cells = [HEADINGS, *(_cells(row) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    lines = [
        " | ".join([first.ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(rest, widths[1:], strict=True))])
        for first, *rest in (cells[0], rule, *cells[1:])
    ]
    return "\n".join(f"| {line} |" for line in lines)


def _cells(row: Row) -> tuple[str, ...]:
    mark = "" if row.is_matched else MARK
    return (
        row.name,
        f"{row.num_parameters:,} ({row.parameters_ratio:.1%}){mark}",
        _with_spread(row.bits_per_byte, 4),
        _with_spread(row.word_perplexity, 1),
        _with_spread(row.bits_per_byte_equal_seconds, 4),
        _with_spread(row.word_perplexity_equal_seconds, 1),
        f"{row.training:,.0f}",
        f"{row.generation:,.0f}",
        f"{row.memory_mb:,.0f}",
        f"{row.seconds.mean:,.0f}",
    )


def _with_spread(sample: Sample, digits: int) -> str:
    mean = f"{sample.mean:,.{digits}f}"
    return mean if sample.std is None else f"{mean} ± {sample.std:.{digits}f}"


def _row_json(row: Row) -> dict[str, Any]:
    return {
        "name": row.name,
        "seeds": list(row.seeds),
        "num_parameters": row.num_parameters,
        "parameters_ratio": row.parameters_ratio,
        "bits_per_byte": _sample_json(row.bits_per_byte),
        "word_perplexity": _sample_json(row.word_perplexity),
        "bits_per_byte_equal_seconds": _sample_json(row.bits_per_byte_equal_seconds),
        "word_perplexity_equal_seconds": _sample_json(row.word_perplexity_equal_seconds),
        "tokens_in_equal_seconds": row.tokens_in_equal_seconds,
        "training_tokens_per_second": row.training,
        "generation_tokens_per_second": row.generation,
        "peak_memory_mb": row.memory_mb,
        "seconds": _sample_json(row.seconds),
    }


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

"""The figure of recall: how many answers were right, by length and depth."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from seqmem.report.runs import RunRecord
from seqmem.report.style import panels
from seqmem.train.recall import RecallEvaluation


def recall_of(run: RunRecord) -> dict[str, Any] | None:
    """What ``seqmem eval`` has left in the run's folder; None where it has not measured recall."""
    file = run.path / RecallEvaluation.file
    return json.loads(file.read_text()) if file.is_file() else None


def draw_recall(measured: Mapping[str, Mapping[str, Any]], file: Path) -> Path:
    """A panel a run: depths down, lengths across, the darker the more answers were right."""
    with panels(file, len(measured)) as grid:
        for axes, (label, found) in zip(grid, measured.items(), strict=True):
            image = axes.imshow([*zip(*found["accuracies"], strict=True)], cmap="Blues", vmin=0, vmax=1, aspect="auto")
            for column, shares in enumerate(found["accuracies"]):
                for row, share in enumerate(shares):
                    shade = "white" if share > 0.5 else "black"
                    axes.text(column, row, f"{share:.0%}", ha="center", va="center", color=shade)
            axes.grid(False)
            axes.set_xticks(range(len(found["eval_lengths"])), [f"{length:,}" for length in found["eval_lengths"]])
            axes.set_yticks(range(len(found["depths"])), [f"{depth:.0%}" for depth in found["depths"]])
            axes.set(
                title=f"{found['task'].capitalize()}, {found['keys']} keys, by chance {found['chance']:.1%}: {label}",
                xlabel="bytes",
                ylabel="place of the facts",
            )
            axes.figure.colorbar(image, ax=axes, label="right answers")
    return file

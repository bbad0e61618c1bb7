"""``expected.json`` beside a recipe: what its comparison gave when it was published."""

import json
from pathlib import Path
from typing import Self

from pydantic import Field

from seqmem.errors import SeqmemError
from seqmem.report.comparison import Comparison
from seqmem.schema import Section, validated

FILE_NAME = "expected.json"


class Expected(Section):
    """Bits/byte or bits/sample at equal tokens by entry, and how far from them another machine may end.

    Attributes:
        data: name of the corpus or of the files that they belong to.
        peak_memory_mb: of the entries' processes; it depends on the installation, so that nobody is held to it.
    """

    tolerance_bits_per_byte: float = 0.02
    tolerance_bits_per_sample: float = 0.1  # seeds differ by as much
    data: str
    entries: dict[str, float]
    peak_memory_mb: dict[str, int] = Field(default_factory=dict)

    @classmethod
    def load(cls, folder: Path) -> Self | None:
        """The folder's file, None without one."""
        file = folder / FILE_NAME
        if not file.is_file():
            return None
        try:
            values = dict(json.loads(file.read_text()))
        except (ValueError, TypeError) as error:  # not JSON or not an object
            raise SeqmemError(f"{file}: not an expectation: {error}; write it again from a comparison") from None
        return validated(cls, values, str(file))

    @classmethod
    def of(cls, comparison: Comparison) -> Self:
        """What this comparison would have others expect."""
        key = f"tolerance_{comparison.measure.key}"
        entries = {row.name: round(row.at_tokens.bits.mean, 4) for row in comparison.rows}
        return cls.model_validate(
            {
                key: cls.model_fields[key].default,
                "data": comparison.data.name,
                "entries": entries,
                "peak_memory_mb": {row.name: round(row.memory_mb) for row in comparison.rows},
            }
        )

    def save(self, folder: Path) -> None:
        (folder / FILE_NAME).write_text(json.dumps(self.model_dump(exclude_unset=True), indent=2) + "\n")

    def verdict(self, comparison: Comparison) -> str:
        """A line: everything as expected, or what is not."""
        if comparison.data.name != self.data:
            return f"{FILE_NAME} has what {self.data} gives, this is {comparison.data.name}: nothing to hold it to."
        measure = comparison.measure
        tolerance = getattr(self, f"tolerance_{measure.key}")
        measured = {row.name: row.at_tokens.bits.mean for row in comparison.rows}
        problems = [
            f"{name} {measured[name]:.4f} instead of {value:.4f}"
            for name, value in self.entries.items()
            if name in measured and abs(measured[name] - value) > tolerance
        ]
        problems += [f"{name} is on one side only" for name in sorted(self.entries.keys() ^ measured.keys())]
        within = f"within {tolerance} {measure.label} of {FILE_NAME}"
        return f"Not {within}: {'; '.join(problems)}." if problems else f"All entries are {within}."

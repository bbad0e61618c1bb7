"""``metrics.jsonl``: one JSON object a logged step or evaluation, in order of steps."""

import json
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TextIO

from seqmem.errors import SeqmemError


class MetricsLog:
    """Appends records to ``metrics.jsonl`` and, on request, to TensorBoard.

    Args:
        run_dir: the run folder.
        step: where the run goes on; records of later steps, and a half-written last line, are cut off.
        tensorboard: also write event files into ``run_dir/tensorboard``.
    """

    def __init__(self, run_dir: Path, step: int, tensorboard: bool = False):
        self._file = (run_dir / "metrics.jsonl").open("a+")
        self._file.truncate(_end_of_step(self._file, step))
        self._events = _event_writer(run_dir / "tensorboard", step) if tensorboard else None

    def write(self, record: dict[str, Any]) -> None:
        """Append one record; its key ``step`` says where it belongs."""
        self._file.write(json.dumps(record) + "\n")
        self._file.flush()
        if self._events:
            for key, value in record.items():
                if isinstance(value, int | float) and key != "step":
                    self._events.add_scalar(key, value, record["step"])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        if self._events:
            self._events.close()


def _end_of_step(file: TextIO, step: int) -> int:
    """Byte at which the records up to ``step`` end."""
    end = 0
    file.seek(0)
    for line in file:
        if not line.endswith("\n") or json.loads(line)["step"] > step:
            break
        end += len(line.encode())
    return end


def _event_writer(folder: Path, step: int):
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise SeqmemError(
            "train.tensorboard = true: the package tensorboard is missing; pip install tensorboard"
        ) from None
    return SummaryWriter(str(folder), purge_step=step + 1)

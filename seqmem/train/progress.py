"""The status of training on the screen: a bar that moves on a terminal, a plain line now and then elsewhere."""

from collections.abc import Callable
from datetime import timedelta
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

BITS_PER = "bits_per_"
"""How the names of likelihoods in a record begin; what follows is their unit."""


class StatusLine:
    """While entered, keeps the user informed of a loop of ``steps`` steps that stands at ``step``.

    Args:
        tokens_left: tokens to be read after a step.
    """

    def __init__(self, console: Console, step: int, steps: int, tokens_left: Callable[[int], int]):
        self._console = console
        self._steps = steps
        self._tokens_left = tokens_left
        columns = (
            BarColumn(bar_width=16),
            TextColumn("{task.completed}/{task.total}"),
            TextColumn("{task.description}"),
        )
        self._progress = Progress(*columns, console=console, disable=not console.is_terminal)
        self._task = self._progress.add_task("", total=steps, completed=step)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def advance(self) -> None:
        """One more step is done."""
        self._progress.advance(self._task)

    def show(self, record: dict[str, float]) -> None:
        """Tell the record of the steps up to ``record["step"]``."""
        if self._console.is_terminal:
            self._progress.update(self._task, description=self._text(record))
        else:
            step = f"step {record['step']}/{self._steps}"
            self._console.print(f"{step}  {self._text(record)}", highlight=False, markup=False, soft_wrap=True)

    def _text(self, record: dict[str, float]) -> str:
        seconds_left = round(self._tokens_left(int(record["step"])) / record["tokens_per_second"])
        bits = (f"{record[key]:.3f} bits/{key[len(BITS_PER) :]}  " for key in record if key.startswith(BITS_PER))
        return (
            f"loss {record['loss']:.3f}  {''.join(bits)}grad norm {record['grad_norm']:.2f}  "
            f"lr {record['lr']:.1e}  {record['tokens_per_second']:,.0f} tokens/s  {record['memory_mb']:,.0f} MB  "
            f"{timedelta(seconds=seconds_left)} left"
        )

"""SIGINT and SIGTERM as a request to stop at the next step rather than in the middle of one."""

import signal
from types import FrameType, TracebackType
from typing import Self

from rich.console import Console

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupt:
    """While entered, the first signal sets :attr:`requested`; a second one ends the process as usual."""

    def __init__(self, console: Console) -> None:
        self.requested = False
        self._console = console

    def __enter__(self) -> Self:
        self._previous = {number: signal.signal(number, self._request) for number in SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._restore()

    def _request(self, number: int, frame: FrameType | None) -> None:
        self.requested = True
        self._restore()
        self._console.print("Stopping after this step; once more to stop at once.")

    def _restore(self) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

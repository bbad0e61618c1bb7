"""Work done by several processes, in order, and none of them left behind."""

import os
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from multiprocessing import get_context, parent_process
from multiprocessing.connection import wait
from threading import Thread
from typing import Any, TypeVar

from seqmem.errors import SeqmemError

T = TypeVar("T")
R = TypeVar("R")

AHEAD = 3
"""Tasks a worker may be given before the results before them are taken."""


def num_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def in_order(
    work: Callable[[T], R],
    tasks: Iterable[T],
    num_workers: int,
    what: str,
    prepare: Callable[..., None] | None = None,
    given: tuple[Any, ...] = (),
) -> Iterator[R]:
    """What ``work`` makes of each task, in the order of the tasks, of which only a few are taken ahead.

    Args:
        work: a function of a module.
        num_workers: processes; with fewer than two, this one does the work.
        what: what they do, for an error.
        prepare: called once in each process before it works, with the arguments ``given``.

    Raises:
        SeqmemError: a process was killed.
    """
    if num_workers < 2:
        if prepare:
            prepare(*given)
        yield from map(work, tasks)
        return
    # A forked copy of a process that has used threads may hang; a new process does not.
    context = get_context("spawn")
    with ProcessPoolExecutor(num_workers, context, initializer=_start, initargs=(prepare, given)) as executor:
        try:
            left = iter(tasks)
            ahead: deque[Future[R]] = deque(executor.submit(work, task) for task in islice(left, AHEAD * num_workers))
            while ahead:
                result = ahead.popleft().result()
                ahead.extend(executor.submit(work, task) for task in islice(left, 1))
                yield result
        except BrokenProcessPool:
            raise SeqmemError(
                f"a process that {what} was killed, perhaps for want of memory; "
                "free some and run again: it goes on where it stopped"
            ) from None
        finally:
            executor.shutdown(cancel_futures=True)


def _start(prepare: Callable[..., None] | None, given: tuple[Any, ...]) -> None:
    """Ends with its parent, however that ends, and is silent at Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    Thread(target=_end_with_parent, daemon=True).start()
    if prepare:
        prepare(*given)


def _end_with_parent() -> None:
    parent = parent_process()
    assert parent
    wait([parent.sentinel])
    os._exit(1)

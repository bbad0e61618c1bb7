"""Seconds of a kernel on this machine's GPU, by tiles."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from statistics import median
from time import monotonic

from search import TimeInTurns
from seqmem.backends.triton import launch
from seqmem.backends.triton.tiles import Tiles
from triton.testing import do_bench
from triton_launch import Workload

TURN_MILLISECONDS = 10


def turns_of(workload: Workload, deadline: float) -> TimeInTurns[Tiles]:
    """How :func:`search.search` times tiles; a TimeoutError ends the search at the deadline, of ``time.monotonic``."""

    def time_in_turns(candidates: Sequence[Tiles], rounds: int) -> Mapping[Tiles, float]:
        taken: dict[Tiles, list[float]] = {tiles: [] for tiles in candidates}
        for _ in range(rounds):
            for tiles in candidates:
                if monotonic() >= deadline:
                    raise TimeoutError
                taken[tiles].append(seconds(partial(launch.queue, *workload.queued(tiles))))
        return {tiles: median(turns) for tiles, turns in taken.items()}

    return time_in_turns


def seconds(run: Callable[[], None]) -> float:
    """The median over a turn, the cache emptied before every launch."""
    return do_bench(run, warmup=TURN_MILLISECONDS, rep=TURN_MILLISECONDS, return_mode="median") / 1e3

"""The fastest tiles of a kernel among those that fit, measured on this machine's GPU."""

import math
import os
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from multiprocessing import get_context
from time import monotonic

import click
import torch
from search import search
from seqmem.backends.triton.ahead import SHARED_BYTES, compiled
from seqmem.backends.triton.tiles import Tiles
from triton.runtime import driver
from triton_candidates import stages, tile_sizes
from triton_launch import Problem, Workload
from triton_rows import Key
from triton_timing import turns_of

COMPILE_SECONDS = 30
"""What takes longer drops out: it spills beyond use."""


@contextmanager
def compilers() -> Iterator[ProcessPoolExecutor]:
    """Processes that compile while this one has the GPU."""
    num_processes = max(1, (os.cpu_count() or 1) - 1)
    pool = ProcessPoolExecutor(num_processes, get_context("spawn"), _heed_alarms)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def fastest(pool: ProcessPoolExecutor, problem: Problem, deadline: float, key: Key) -> tuple[Tiles, str] | None:
    """The fastest tiles and how much faster they are than those that ship; None if nothing fits.

    Raises TimeoutError at the deadline, of ``time.monotonic``.
    """
    fit = partial(fitting, pool, problem, deadline, key)
    candidates = fit(tile_sizes(key.tiles, key))
    if not candidates:
        return None
    kinds = (lambda _: candidates), (lambda tiles: fit(stages(tiles)))
    tiles, gain = search(candidates[0], kinds, turns_of(Workload(key, problem, "cuda"), deadline))
    return tiles, f"{gain:.2f} x what ships"


def fitting(
    pool: ProcessPoolExecutor, problem: Problem, deadline: float, key: Key, candidates: Sequence[Tiles]
) -> list[Tiles]:
    """Those that compile, and fit the shared memory of this GPU and of each that the table is for."""
    limits = shared_limits()
    asked = {
        tiles: {gpu: pool.submit(shared_bytes, key, tiles, problem, gpu) for gpu in limits} for tiles in candidates
    }

    def fits(tiles: Tiles) -> bool:
        return all(asked[tiles][gpu].result(deadline - monotonic()) <= limit for gpu, limit in limits.items())

    return [tiles for tiles in candidates if fits(tiles)]


def shared_limits() -> dict[int, int]:
    """Bytes that a program can have, by architecture."""
    here = driver.active.utils.get_device_properties(torch.cuda.current_device())
    return SHARED_BYTES | {driver.active.get_current_target().arch: here["max_shared_mem"]}


def shared_bytes(key: Key, tiles: Tiles, problem: Problem, architecture: int) -> float:
    """What a program takes, infinite if the kernel does not compile; it stays in Triton's cache, for the launch."""
    signal.alarm(COMPILE_SECONDS)
    try:
        return compiled(architecture, *Workload(key, problem, "meta").queued(tiles)).metadata.shared
    except Exception as error:  # whatever the compiler says, or the alarm
        click.echo(f"{key}, {tiles}: no kernel for sm_{architecture}: {type(error).__name__}: {error}"[:500], err=True)
        return math.inf
    finally:
        signal.alarm(0)


def _heed_alarms() -> None:
    def give_up(*_: object) -> None:
        raise TimeoutError

    signal.signal(signal.SIGALRM, give_up)

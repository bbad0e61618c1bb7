"""Timing side by side: contenders take turns, medians are compared, the machine's matrix rate is the yardstick."""

import json
import platform
import subprocess
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor

from seqmem.report.speed import take_turns, this_machine

T = TypeVar("T")


def matmul() -> Callable[[], object]:
    """``torch.mm`` of 2048^3 in float32, the yardstick."""
    a, b = torch.randn(2048, 2048), torch.randn(2048, 2048)
    return lambda: a @ b


MATMUL_OPERATIONS = 2 * 2048**3


def report(record: dict[str, object], lines: list[str], json_path: str | None) -> None:
    """Print a table, and write JSON to a path or, for ``-``, to standard output instead."""
    machine = this_machine().model_dump() | {"python": platform.python_version()}
    text = json.dumps({"machine": machine} | record, indent=2)
    if json_path == "-":
        sys.stdout.write(text + "\n")
        return
    print("\n".join(lines))
    if json_path:
        Path(json_path).write_text(text + "\n")


def run_among_peers(*command: str) -> None:
    """Run a script in the environment of ``tools/peers``, made on first use, and end as it ends."""
    sys.path.append(str(Path(__file__).resolve().parents[1] / "peers"))
    from environment import peers_python

    sys.exit(subprocess.run([str(peers_python()), *command]).returncode)


def in_new_process(function: Callable[..., T], *arguments: object) -> T:
    """Call a function of a module where nothing has run before, so that the peak is its own."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def taking_turns(
    makes: Mapping[str, Callable[[], Callable[[], object]]], rounds: int, warm_up_turns: int = 0
) -> dict[str, float]:
    """Median seconds of contenders, each in a process of its own, as its users' would be; they end with the contest.

    Args:
        makes: called in the process, gives what is done in a turn.
    """
    with ExitStack() as processes:
        turns: dict[str, Callable[[], object]] = {}
        for name, make in makes.items():
            process = processes.enter_context(ProcessPoolExecutor(1, get_context("spawn"), _prepare, (make,)))
            turns[name] = partial(_turn_of, process)
            for _ in range(warm_up_turns):
                turns[name]()
        return take_turns(turns, rounds)


def _turn_of(process: ProcessPoolExecutor) -> None:
    process.submit(_turn).result()


_prepared: list[Callable[[], object]] = []


def _prepare(make: Callable[[], Callable[[], object]]) -> None:
    torch.set_flush_denormal(True)
    _prepared.append(make())


def _turn() -> None:
    _prepared[0]()


def computed(hidden: Callable[[], Tensor], backward: bool) -> Callable[[], Tensor]:
    """One pass, forward alone or forward and backward."""
    if not backward:
        return torch.no_grad()(hidden)

    def both_ways() -> Tensor:
        loss = hidden().square().mean()
        loss.backward()
        return loss.detach()

    return both_ways

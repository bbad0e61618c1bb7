"""Timing side by side: contenders take turns, medians are compared, the machine's matrix rate is the yardstick."""

import json
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch


def take_turns(contenders: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Median seconds of each contender over ``rounds`` in which all run one after the other; one more warms up."""
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(rounds + 1):
        for name, run in contenders.items():
            start = time.perf_counter()
            run()
            if turn:
                times[name].append(time.perf_counter() - start)
    return {name: median(taken) for name, taken in times.items()}


def matmul() -> Callable[[], object]:
    """``torch.mm`` of 2048^3 in float32, the yardstick."""
    a, b = torch.randn(2048, 2048), torch.randn(2048, 2048)
    return lambda: a @ b


MATMUL_OPERATIONS = 2 * 2048**3


def machine() -> dict[str, object]:
    """What the numbers were taken on."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())
    return {
        "processor": model,
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def report(record: dict[str, object], lines: list[str], json_path: str | None) -> None:
    """Print a table, and write JSON to a path or, for ``-``, to standard output instead."""
    text = json.dumps({"machine": machine()} | record, indent=2)
    if json_path == "-":
        sys.stdout.write(text + "\n")
        return
    print("\n".join(lines))
    if json_path:
        Path(json_path).write_text(text + "\n")

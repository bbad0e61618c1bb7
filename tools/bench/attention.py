"""Windowed attention against what else there is on a CPU, forward and forward + backward."""

import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass

import click
import torch
from contenders import Factories, Skip, factories
from measure import MATMUL_OPERATIONS, matmul, report, run_among_peers
from shapes import Operands, Shape
from torch import Tensor

from seqmem.report.speed import take_turns
from seqmem.train.device import keep_freed_memory

DIRECTIONS = {"forward": False, "forward+backward": True}


@click.command()
@click.option("--json", "json_path", is_flag=False, flag_value="-", help="Write JSON to this path, or print it.")
@click.option("--backend", default="pytorch", show_default=True)
@click.option("--op", type=click.Choice(["attend", "band_qk", "band_pv"]), default="attend", show_default=True)
@click.option("--batch", "B", default=1, show_default=True)
@click.option("--length", "T", default=4096, show_default=True)
@click.option("--heads", "H", default=8, show_default=True)
@click.option("--width", "D", default=64, show_default=True)
@click.option("--window", "W", default=512, show_default=True)
@click.option("--dilation", default=1, show_default=True)
@click.option("--two-sided", is_flag=True, help="Half the window on each side.")
@click.option("--rel", is_flag=True, help="With relative positions as an operand.")
@click.option("--peers", is_flag=True, help="Run where Hugging Face's Longformer is; installs it on first use.")
@click.option("--rounds", default=7, show_default=True)
def attention(json_path: str | None, backend: str, peers: bool, rounds: int, **shape: int | bool | str) -> None:
    """Fused windowed attention in float32, [B, T, H, D], lse returned.

    Useful operations: 4 * B * H * D for every key that a query sees, 3.5 times that both ways; with --rel 6 and 22.
    """
    if peers:
        run_among_peers(*(argument for argument in sys.argv if argument != "--peers"))
    of = Shape(**shape)  # type: ignore[arg-type]
    record: dict[str, object] = {"shape": asdict(of) | {"backend": backend}}
    lines = [f"{of}, float32"]
    for direction, both_ways in DIRECTIONS.items():
        result = race(Operands(of, both_ways), factories(of), backend, rounds)
        record[direction] = {**result.rows, "matmul_gflops": result.matmul_rate / 1e9, "skipped": result.skipped}
        lines += result.table(direction)
    report(record, lines, json_path)


@dataclass
class Race:
    """What contenders came to that took turns; seqmem on the chosen backend is the first of them.

    Attributes:
        rows: by name: ``seconds``, ``of_matmul_rate``, and ``times_seqmem``, the time as a multiple of the first's.
        matmul_rate: of ``torch.mm``, operations a second.
        skipped: by name, why.
    """

    rows: dict[str, dict[str, float]]
    matmul_rate: float
    skipped: dict[str, str]

    def table(self, direction: str) -> list[str]:
        lines = [f"\n{direction:<24} {'ms':>8} {'of matmul rate':>15} {'x first':>8}"]
        for name, row in self.rows.items():
            numbers = f"{1e3 * row['seconds']:>8.1f} {row['of_matmul_rate']:>15.2f} {row['times_seqmem']:>8.2f}"
            lines.append(f"{name:<24} {numbers}")
        return lines + [f"{name:<24} skipped: {why}" for name, why in self.skipped.items()]


def race(operands: Operands, others: Factories, backend: str, rounds: int) -> Race:
    """Time seqmem, on ``backend`` and on pytorch, beside every other contender that takes the operands.

    All work in one process, which keeps freed memory as it does in training.
    """
    keep_freed_memory()
    names = dict.fromkeys((backend, "pytorch"))
    runs = {f"seqmem, {name}": operands.repeated(operands.seqmem(name)) for name in names}
    first, *rest = (run() for run in runs.values())
    for results in rest:
        agree(results, first)
    skipped = {}
    for name, factory in others.items():
        try:
            run = operands.repeated(factory(operands))
            results = run()
        except Exception as error:  # whatever a library raises where it does not work
            reason = str(error).strip().splitlines() or [""]
            skipped[name] = reason[0] if isinstance(error, Skip) else f"{type(error).__name__}: {reason[0]}"
            continue
        agree(results, first)
        runs[name] = run
    contenders: dict[str, Callable[[], object]] = {"matmul": matmul(), **runs}
    seconds = take_turns(contenders, rounds)
    rate = MATMUL_OPERATIONS / seconds.pop("matmul")
    useful = operands.shape.operations(operands.both_ways)
    first_seconds = seconds[f"seqmem, {backend}"]
    rows = {
        name: {"seconds": taken, "of_matmul_rate": useful / taken / rate, "times_seqmem": taken / first_seconds}
        for name, taken in seconds.items()
    }
    return Race(rows, rate, skipped)


def agree(results: tuple[Tensor, ...], first: tuple[Tensor, ...]) -> None:
    """A contender that computes something else is no contender."""
    for result, wanted in zip(results, first, strict=True):
        torch.testing.assert_close(result, wanted, atol=1e-4, rtol=1e-3)

"""What windowed attention is to reach, and what it reaches here: one table, measured in one run."""

import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from multiprocessing import get_context

import click
import torch
from attention import DIRECTIONS, Race, race
from contenders import CHUNKS, factories
from measure import MATMUL_OPERATIONS, matmul, report, run_among_peers
from shapes import Operands, Shape

from seqmem.report.speed import take_turns
from seqmem.train.device import keep_freed_memory, peak_memory, reset_peak_memory

FORWARD, BOTH = DIRECTIONS
Floors = dict[str, float]

# By shape: the least share of the rate of torch.mm,
OF_MATMUL: list[tuple[Shape, Floors]] = [
    (Shape(W=2048), {FORWARD: 0.55}),
    (Shape(W=64), {FORWARD: 0.33}),
    (Shape(D=32), {FORWARD: 0.42}),
    (Shape(D=128), {FORWARD: 0.45}),
    (Shape(rel=True), {FORWARD: 0.40, BOTH: 0.40}),
    (Shape(op="band_qk"), {FORWARD: 0.50}),
    (Shape(op="band_pv"), {FORWARD: 0.50}),
]
# and the least share of the rate at the first shape.
FIRST = Shape()
FIRST_FLOORS = {FORWARD: 0.56, BOTH: 0.50}
OF_FIRST = [Shape(H=16), Shape(H=32), Shape(dilation=4), Shape(two_sided=True)]
OF_FIRST_FLOOR = 0.9
# How many times as long others take, at the first shape and, for Longformer, at the two-sided one.
BEST_PYTORCH, FLEX, LONGFORMER = "best of PyTorch", "FlexAttention, compiled", "Longformer, its chunks"
TIMES_OTHERS = {BEST_PYTORCH: {FORWARD: 1.5, BOTH: 1.25}, FLEX: {FORWARD: 2.0}, LONGFORMER: {FORWARD: 4.0, BOTH: 4.0}}
# Of a length sixteen times the usual one to its double.
LONG = 16
DOUBLE_TIME = 2.2


@dataclass(frozen=True)
class Row:
    """A measured number and its bound, if any: a floor, or with ``at_most`` a ceiling."""

    what: str
    direction: str
    measured: float
    bound: float | None = None
    at_most: bool = False

    @property
    def met(self) -> bool | None:
        if self.bound is None:
            return None
        return self.measured <= self.bound if self.at_most else self.measured >= self.bound

    def __str__(self) -> str:
        wanted = "" if self.bound is None else f"{'<=' if self.at_most else '>='} {self.bound:.2f}"
        verdict = {None: "", True: "met", False: "NOT MET"}[self.met]
        return f"{self.what:<64} {self.direction:<17} {self.measured:>8.3f} {wanted:>8} {verdict}".rstrip()


@click.command()
@click.option("--json", "json_path", is_flag=False, flag_value="-", help="Write JSON to this path, or print it.")
@click.option("--backend", default="tvm", show_default=True)
@click.option(
    "--length", "T", default=FIRST.T, show_default=True, help="Tokens; the long ones are 16 and 32 times that."
)
@click.option("--peers", is_flag=True, help="Run where Hugging Face's Longformer is; installs it on first use.")
@click.option("--rounds", default=7, show_default=True)
def targets(json_path: str | None, backend: str, T: int, peers: bool, rounds: int) -> None:
    """Every shape of windowed attention that has a target, as shares of the rate of torch.mm or of other times.

    Operations are counted as in ``attention``; a band kernel has 2 * H * D a visible key forward and 3 times that both
    ways. Each number is of medians of contenders that took turns in this process; peak memory is of a process of its
    own: growth over what is held before, in units of one [T, H, D] float32 operand, results included.
    """
    if peers:
        run_among_peers(*(argument for argument in sys.argv if argument != "--peers"))
    keep_freed_memory()
    rows: list[Row] = []
    skipped: dict[str, dict[str, str]] = {}
    for direction, both_ways in DIRECTIONS.items():
        rows += shares(T, backend, direction, rounds)
        shapes = (replace(FIRST, T=T), replace(FIRST, T=T, two_sided=True))
        first, two_sided = (race(Operands(of, both_ways), factories(of), backend, rounds) for of in shapes)
        rows += times_others(first, two_sided, direction)
        rows += doubled(LONG * T, backend, direction, rounds)
        skipped[direction] = two_sided.skipped
    lines = [str(row) for row in rows]
    lines += [f"{name}, {way}: skipped, {why}" for way, each in skipped.items() for name, why in each.items()]
    listed = [asdict(row) | {"met": row.met} for row in rows]
    report({"backend": backend, "rows": listed, "skipped": skipped}, lines, json_path)


def shares(T: int, backend: str, direction: str, rounds: int) -> list[Row]:
    """Every shape's share of the rate of ``torch.mm`` or of the first shape's, all in one round of turns."""
    # The first shape does not come first: whoever runs after torch.mm finds the caches full of its matrices.
    shapes = [replace(shape, T=T) for shape in (*(shape for shape, _ in OF_MATMUL), FIRST, *OF_FIRST)]
    matmul_rate, *each = rates(shapes, backend, DIRECTIONS[direction], rounds)
    rate = dict(zip(shapes, each, strict=True))
    first = rate[replace(FIRST, T=T)]
    floors = {replace(shape, T=T): bounds.get(direction) for shape, bounds in [(FIRST, FIRST_FLOORS), *OF_MATMUL]}
    return [
        *(Row(f"{shape}: of torch.mm", direction, rate[shape] / matmul_rate, floor) for shape, floor in floors.items()),
        *(Row(f"{of}: of the first", direction, rate[of] / first, OF_FIRST_FLOOR) for of in shapes[-len(OF_FIRST) :]),
    ]


def times_others(first: Race, two_sided: Race, direction: str) -> list[Row]:
    """How many times as long the others take; the ones that took part."""
    times = {name: row["times_seqmem"] for name, row in first.rows.items()}
    others = {BEST_PYTORCH: min(times[name] for name in ("sdpa, mask", *(f"sdpa, chunks of {n}" for n in CHUNKS)))}
    if FLEX in times:
        others[FLEX] = times[FLEX]
    if LONGFORMER in two_sided.rows:
        others[LONGFORMER] = two_sided.rows[LONGFORMER]["times_seqmem"]
    return [
        Row(f"time of {name}, x ours", direction, n, TIMES_OTHERS[name].get(direction)) for name, n in others.items()
    ]


def doubled(T: int, backend: str, direction: str, rounds: int) -> list[Row]:
    """Time at twice the length, and peak memory at both."""
    both_ways = DIRECTIONS[direction]
    shapes = [replace(FIRST, T=T), replace(FIRST, T=2 * T)]
    _, *each = rates(shapes, backend, both_ways, rounds)
    short, long = (shape.operations(both_ways) / rate for shape, rate in zip(shapes, each, strict=True))
    rows = [Row(f"time of T{2 * T} to T{T}", direction, long / short, DOUBLE_TIME, at_most=True)]
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        for shape in shapes:
            growth = pool.submit(peak_growth, shape, backend, both_ways).result()
            rows.append(Row(f"peak memory of T{shape.T}, in operands", direction, growth))
    return rows


def rates(shapes: list[Shape], backend: str, both_ways: bool, rounds: int) -> list[float]:
    """Useful operations a second of ``torch.mm``, and of each shape, that took turns."""
    contenders: dict[str, Callable[[], object]] = {"matmul": matmul()}
    for shape in shapes:
        operands = Operands(shape, both_ways)
        contenders[str(shape)] = operands.repeated(operands.seqmem(backend))
    counts = [MATMUL_OPERATIONS, *(shape.operations(both_ways) for shape in shapes)]
    seconds = take_turns(contenders, rounds).values()
    return [count / taken for count, taken in zip(counts, seconds, strict=True)]


def peak_growth(shape: Shape, backend: str, both_ways: bool) -> float:
    """Peak memory of one call beyond what is held before it, in operands ``[B, T, H, D]``; in a new process."""
    short = Operands(replace(shape, T=shape.W), both_ways)
    short.repeated(short.seqmem(backend))()
    operands = Operands(shape, both_ways)
    call = operands.repeated(operands.seqmem(backend))
    device = torch.device("cpu")
    reset_peak_memory(device)
    before = peak_memory(device)
    call()
    return (peak_memory(device) - before) * 1e6 / operands.q.nbytes

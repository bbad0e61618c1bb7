"""Causal windowed attention against what PyTorch offers, forward and forward + backward."""

from collections.abc import Callable

import click
import torch
import torch.nn.functional as F
from measure import MATMUL_OPERATIONS, matmul, report
from torch import Tensor

from seqmem.ops import Band, bind
from seqmem.report.speed import take_turns

CHUNKS = (128, 256, 512)


@click.command()
@click.option("--json", "json_path", is_flag=False, flag_value="-", help="Write JSON to this path, or print it.")
@click.option("--backend", default="pytorch", show_default=True)
@click.option("--batch", "B", default=1, show_default=True)
@click.option("--length", "T", default=4096, show_default=True)
@click.option("--heads", "H", default=8, show_default=True)
@click.option("--width", "D", default=64, show_default=True)
@click.option("--window", "W", default=512, show_default=True)
@click.option("--rounds", default=7, show_default=True)
def attention(json_path: str | None, backend: str, B: int, T: int, H: int, D: int, W: int, rounds: int) -> None:
    """Fused causal window in float32, [B, T, H, D], lse returned.

    Useful operations: 4 * B * H * D * sum over queries of min(i + 1, window) forward, 3.5 times that both ways.
    """
    torch.manual_seed(0)
    q, k, v, dout = (torch.randn(B, T, H, D) for _ in range(4))
    useful = 4 * B * H * D * sum(min(i + 1, W) for i in range(T))
    record: dict[str, object] = {"shape": {"B": B, "T": T, "H": H, "D": D, "window": W, "backend": backend}}
    lines = [f"B{B} T{T} H{H} D{D}, causal window {W}, float32, backend {backend}"]
    for direction, factor in (("forward", 1.0), ("forward+backward", 3.5)):
        forward = paths(backend, W, q, k, v)
        check(forward)
        contenders: dict[str, Callable[[], object]] = {"matmul": matmul()}
        for name, run in forward.items():
            contenders[name] = run if factor == 1 else both_ways(run, (q, k, v), dout)
        seconds = take_turns(contenders, rounds)
        rate = MATMUL_OPERATIONS / seconds.pop("matmul")
        masked = seconds["sdpa, mask"]
        rows = {
            name: {
                "seconds": taken,
                "of_matmul_rate": factor * useful / taken / rate,
                "times_sdpa_mask": masked / taken,
            }
            for name, taken in seconds.items()
        }
        record[direction] = rows | {"matmul_gflops": rate / 1e9}
        lines.append(f"\n{direction:<24} {'ms':>8} {'of matmul rate':>15} {'x sdpa, mask':>13}")
        for name, row in rows.items():
            timed = f"{1e3 * row['seconds']:>8.1f} {row['of_matmul_rate']:>15.2f} {row['times_sdpa_mask']:>13.2f}"
            lines.append(f"{name:<24} {timed}")
    report(record, lines, json_path)


def paths(backend: str, window: int, q: Tensor, k: Tensor, v: Tensor) -> dict[str, Callable[[], Tensor]]:
    """Every contender as a function that gives ``out [B, T, H, D]``."""
    ops, band = bind(backend), Band(window - 1)
    mask = band.to_mask(q.shape[1], q.shape[1])
    found: dict[str, Callable[[], Tensor]] = {
        f"seqmem, {backend}": lambda: ops.attend(q, k, v, band)[0],
        "sdpa, mask": lambda: sdpa(q, k, v, mask),
    }
    for chunk in CHUNKS:
        found[f"sdpa, chunks of {chunk}"] = lambda chunk=chunk: sdpa_chunks(q, k, v, mask, window, chunk)  # type: ignore[misc]
    return found


def sdpa(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    q, k, v = q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2)


def sdpa_chunks(q: Tensor, k: Tensor, v: Tensor, mask: Tensor, window: int, chunk: int) -> Tensor:
    parts = []
    for start in range(0, q.shape[1], chunk):
        rows, keys = slice(start, start + chunk), slice(max(0, start - window + 1), start + chunk)
        parts.append(sdpa(q[:, rows], k[:, keys], v[:, keys], mask[rows, keys]))
    return torch.cat(parts, 1)


def both_ways(run: Callable[[], Tensor], operands: tuple[Tensor, ...], dout: Tensor) -> Callable[[], object]:
    for operand in operands:
        operand.requires_grad_()
    return lambda: torch.autograd.grad(run(), operands, dout)


def check(contenders: dict[str, Callable[[], Tensor]]) -> None:
    """A contender that computes something else is no contender."""
    first, *rest = (run() for run in contenders.values())
    for other in rest:
        torch.testing.assert_close(other, first, atol=1e-4, rtol=1e-4)

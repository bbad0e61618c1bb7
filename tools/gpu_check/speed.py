"""Windowed attention against compiled FlexAttention and a product of matrices, in one run."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import create_block_mask, flex_attention

from seqmem.ops import Band, bind

FORWARD_PRODUCTS, BOTH_PRODUCTS = 2, 7
"""Of queries, keys and values that attention is made of, forward, and forward and backward."""


@dataclass(frozen=True)
class Shape:
    """A causal window of ``window`` tokens."""

    batch: int
    length: int
    heads: int
    width: int
    window: int

    def operations(self, products: int) -> float:
        """Useful ones: of keys that a query sees."""
        pairs = self.length * self.window - self.window * (self.window - 1) / 2
        return 2 * products * self.batch * self.heads * self.width * pairs


FULL = (Shape(4, 16_384, 16, 64, 1024), Shape(4, 16_384, 16, 128, 1024))
TINY = (Shape(1, 40, 1, 16, 8),)


def attention_speed(rehearse: bool, deadline: float) -> list[dict[str, Any]]:
    """Seconds, teraflops and ratios of every contender, forward, and forward and backward."""
    device = "cpu" if rehearse else "cuda"
    dtype = torch.float16 if rehearse else torch.bfloat16
    matmul = matmul_rate(device, dtype, 64 if rehearse else 8192)
    print(f"torch.mm: {matmul / 1e12:.0f} TFLOP/s", flush=True)
    rows: list[dict[str, Any]] = []
    for shape in TINY if rehearse else FULL:
        timed = contenders(shape, device, dtype)
        for name, (forward, both) in timed.items():
            if time.monotonic() > deadline:
                break
            for what, run, products in (("forward", forward, FORWARD_PRODUCTS), ("both", both, BOTH_PRODUCTS)):
                rate = shape.operations(products) / seconds(run, device)
                row = {"contender": name, "what": what, "width": shape.width, "tflops": rate / 1e12}
                rows.append(row | {"share_of_mm": rate / matmul})
                print(f"{name:<28} D {shape.width:>3} {what:<7} {rate / 1e12:7.1f} TFLOP/s {rate / matmul:6.2f} of mm")
    return rows


def contenders(shape: Shape, device: str, dtype: torch.dtype) -> dict[str, tuple[Callable, Callable]]:
    """By name, something to time forward, and forward and backward."""
    torch.manual_seed(0)
    size = (shape.batch, shape.length, shape.heads, shape.width)
    q, k, v, qr, dout = (torch.randn(size, device=device, dtype=dtype).requires_grad_() for _ in range(5))
    r = torch.randn(shape.window, shape.heads, shape.width, device=device, dtype=dtype).requires_grad_()
    bias = torch.randn(1, 1, shape.heads, shape.window, device=device).requires_grad_()
    ops, band = bind("triton"), Band(shape.window - 1)
    calls: dict[str, tuple[Callable[[], Tensor], list[Tensor]]] = {
        "triton": (lambda: ops.attend(q, k, v, band)[0], [q, k, v]),
        "triton, bias [H, C]": (lambda: ops.attend(q, k, v, band, bias=bias)[0], [q, k, v, bias]),
        "triton, relative positions": (lambda: ops.attend(q, k, v, band, rel=(qr, r))[0], [q, k, v, qr, r]),
    }
    if device == "cuda":
        calls |= flex(shape, q, k, v, bias)
    return {name: (run, partial(both_ways, run, leaves, dout)) for name, (run, leaves) in calls.items()}


def flex(
    shape: Shape, q: Tensor, k: Tensor, v: Tensor, bias: Tensor
) -> dict[str, tuple[Callable[[], Tensor], list[Tensor]]]:
    """FlexAttention in the layout that it likes best; relative positions as an operand are beyond it."""

    def near(b, h, query, key):
        return (query >= key) & (query - key < shape.window)

    table = bias[0, 0].detach().requires_grad_()

    def biased(score, b, h, query, key):
        return score + table[h, key - query + shape.window - 1]

    mask = create_block_mask(near, None, None, shape.length, shape.length, device="cuda")
    fq, fk, fv = (x.detach().transpose(1, 2).contiguous().requires_grad_() for x in (q, k, v))
    plain = torch.compile(flex_attention)
    return {
        "FlexAttention": (lambda: plain(fq, fk, fv, block_mask=mask).transpose(1, 2), [fq, fk, fv]),
        "FlexAttention, bias [H, C]": (
            lambda: plain(fq, fk, fv, score_mod=biased, block_mask=mask).transpose(1, 2),
            [fq, fk, fv, table],
        ),
    }


def both_ways(run: Callable[[], Tensor], leaves: list[Tensor], dout: Tensor) -> None:
    """Forward and all gradients."""
    torch.autograd.grad(run(), leaves, dout)


def matmul_rate(device: str, dtype: torch.dtype, size: int) -> float:
    """Operations a second of ``torch.mm``."""
    a, b = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    return 2 * size**3 / seconds(lambda: a @ b, device)


def seconds(run: Callable[[], object], device: str) -> float:
    """The median of many runs."""
    if device == "cuda":
        from triton.testing import do_bench

        return do_bench(run, warmup=100, rep=300, return_mode="median") / 1e3
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def million_tokens(rehearse: bool, deadline: float) -> dict[str, float]:
    """Forward and backward over 1,048,576 tokens on one GPU: seconds and peak gigabytes."""
    shape = TINY[0] if rehearse else Shape(1, 1_048_576, 16, 64, 1024)
    device, dtype = ("cpu", torch.float16) if rehearse else ("cuda", torch.bfloat16)
    _, both = contenders_of_triton(shape, device, dtype)
    taken = seconds(both, device)
    peak = 0.0 if rehearse else torch.cuda.max_memory_allocated() / 1e9
    print(f"T {shape.length:,}: {taken:.3f} s, {peak:.1f} GB", flush=True)
    return {"seconds": taken, "gigabytes": peak}


def contenders_of_triton(shape: Shape, device: str, dtype: torch.dtype) -> tuple[Callable, Callable]:
    size = (shape.batch, shape.length, shape.heads, shape.width)
    q, k, v, dout = (torch.randn(size, device=device, dtype=dtype).requires_grad_() for _ in range(4))
    ops, band = bind("triton"), Band(shape.window - 1)

    def run() -> Tensor:
        return ops.attend(q, k, v, band)[0]

    return run, partial(both_ways, run, [q, k, v], dout)

"""Times, and the rate of a product of matrices that others are compared with."""

import time
from collections.abc import Callable

import torch


def seconds(run: Callable[[], object], device: str) -> float:
    """The median of many runs; on a CPU of one, for rehearsals."""
    if device == "cuda":
        from triton.testing import do_bench

        return do_bench(run, warmup=100, rep=300, return_mode="median") / 1e3
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def matmul_rate(device: str) -> float:
    """Operations a second of ``torch.mm`` in bfloat16, 8192 each way."""
    size = 8192 if device == "cuda" else 64
    a, b = (torch.randn(size, size, device=device, dtype=torch.bfloat16) for _ in range(2))
    rate = 2 * size**3 / seconds(lambda: a @ b, device)
    print(f"torch.mm: {rate / 1e12:.0f} TFLOP/s", flush=True)
    return rate

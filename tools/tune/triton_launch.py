"""One launch of a Triton kernel with tiles of choice, in a causal window over one long sequence."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import log
from typing import Any
from unittest.mock import patch

import torch
from seqmem.backends.triton import launch
from seqmem.backends.triton.backend import TritonBackend
from seqmem.backends.triton.tiles import Tiles, tiles_for
from triton_rows import Key

from seqmem.ops import Band
from seqmem.ops.backend import Attention

NUM_HEADS = 16
DTYPES = {2: torch.bfloat16, 4: torch.float32}

Queued = tuple[Any, ...]
"""The arguments of :func:`seqmem.backends.triton.launch.queue`."""


@dataclass(frozen=True)
class Problem:
    """What kernels are tried on: sequences of a length, with a causal window that counts self."""

    length: int
    window: int


class Workload:
    """A kernel with its operands.

    Args:
        key: the kernel, and the type and width of the operands, of one batch row.
        problem: the rest of their shapes.
        device: where they are; on ``"meta"`` they take no memory, which is enough to compile a kernel.
    """

    def __init__(self, key: Key, problem: Problem, device: str):
        self.key = key
        self._run = _call(key, problem, device)

    def queued(self, tiles: Tiles) -> Queued:
        """The launch with some tiles. It owns what it writes; what other kernels would write before it is noise."""
        found: list[Queued] = []

        def take(kernel: Any, *rest: Any) -> None:
            if kernel.__name__ == self.key.kernel:
                found.append((kernel, *rest))

        def tiles_of(kernel: str, *operands: Any) -> Tiles:
            return tiles if kernel == self.key.kernel else tiles_for(kernel, *operands)

        with patch.object(launch, "queue", take), patch.object(launch, "tiles_for", tiles_of):
            self._run()
        (queued,) = found
        return queued


def _call(key: Key, problem: Problem, device: str) -> Callable[[], object]:
    """The backend's operation in which the kernel is launched."""
    backend, band = TritonBackend(), Band(problem.window - 1)
    shape = 1, problem.length, NUM_HEADS

    def numbers(*shape: int, dtype: torch.dtype = DTYPES[key.item_bytes]) -> torch.Tensor:
        return torch.randn(shape, device=device, dtype=dtype)

    q, k, v, out, dout = (numbers(*shape, key.width) for _ in range(5))
    if key.kernel.startswith("band"):
        p = numbers(*shape, problem.window, dtype=torch.float32)
        calls = {
            "band_qk": partial(backend.band_qk, q, k, band),
            "band_pv": partial(backend.band_pv, p, v, band),
            "band_pv_t": partial(backend.band_pv_t, p, dout, band, problem.length),
        }
        return calls[key.kernel]
    bias = qr = r = None
    if key.kernel == "attend_bias" or (key.kernel == "attend_columns" and not key.positions):
        rows = problem.length if key.kernel == "attend_bias" else 1
        bias = numbers(1, rows, NUM_HEADS, problem.window, dtype=torch.float32)
    if key.positions:
        qr, r = numbers(*shape, key.width), numbers(problem.window, NUM_HEADS, key.width)
    call = Attention(q, k, v, band, key.width**-0.5, bias, qr, r, bias_needs_grad=bias is not None)
    if key.kernel == "attend":
        return partial(backend.attend, call)
    lse = torch.full(shape, log(problem.window), device=device)
    return partial(backend.attend_backward, call, out, lse, dout, torch.zeros_like(lse))

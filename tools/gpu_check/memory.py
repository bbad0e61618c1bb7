"""Peak memory of attention as its sequences grow."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from seqmem.ops import Band, bind
from seqmem.train import device as devices


def held_and_peak(run: Callable[[], object], device: str) -> tuple[float, float]:
    """Megabytes allocated before ``run``, and at most while it runs; on a CPU of the whole process."""
    kind = torch.device(device)
    devices.reset_peak_memory(kind)
    held = devices.peak_memory(kind)
    run()
    return held, devices.peak_memory(kind)


def peak_memory(rehearse: bool, found: dict[str, Any]) -> None:
    """Most memory beyond the operands, forward and backward, in units of one operand ``[T, H, D]``, by length."""
    device, dtype, heads, width = ("cpu", torch.float16, 1, 16) if rehearse else ("cuda", torch.bfloat16, 16, 64)
    ops = bind("triton")
    for length in (16, 32) if rehearse else (16_384, 65_536, 262_144):
        q, k, v = (torch.randn(1, length, heads, width, device=device, dtype=dtype).requires_grad_() for _ in "qkv")

        def both(q: Tensor = q, k: Tensor = k, v: Tensor = v) -> None:
            out, _ = ops.attend(q, k, v, Band(1023))
            out.backward(torch.ones_like(out))

        held, peak = held_and_peak(both, device)
        found[str(length)] = (peak - held) * 1e6 / q.nbytes
        print(f"T {length:>7}: {found[str(length)]:.2f} operands", flush=True)

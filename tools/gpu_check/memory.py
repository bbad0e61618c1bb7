"""Peak memory of attention as its sequences grow."""

import torch

from seqmem.ops import Band, bind


def peak_memory(rehearse: bool, deadline: float) -> dict[str, float]:
    """Most memory beyond the operands, forward and backward, in units of one operand ``[T, H, D]``, by length."""
    if rehearse:
        return {}
    ops, found = bind("triton"), {}
    for length in (16_384, 65_536, 262_144):
        q, k, v = (torch.randn(1, length, 16, 64, device="cuda", dtype=torch.bfloat16).requires_grad_() for _ in "qkv")
        torch.cuda.synchronize()
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        out, _ = ops.attend(q, k, v, Band(1023))
        out.backward(torch.ones_like(out))
        torch.cuda.synchronize()
        operand = q.numel() * q.element_size()
        found[str(length)] = (torch.cuda.max_memory_allocated() - before) / operand
        print(f"T {length:>7}: {found[str(length)]:.2f} operands", flush=True)
        del q, k, v, out
    return found

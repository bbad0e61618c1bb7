"""Are the values right, and the same every time?"""

import time
from collections import Counter
from typing import Any
from unittest import SkipTest

import torch

from seqmem.ops import Band, bind
from seqmem.testing import cases


def conformance(rehearse: bool, deadline: float) -> dict[str, Any]:
    """The public suite, every dtype against float64; as many cases as there is time for, evenly picked."""
    device = "cpu" if rehearse else "cuda"
    dtypes = (torch.float32, torch.float16) if rehearse else (torch.float32, torch.bfloat16, torch.float16)
    todo = cases("triton", device, dtypes)
    todo = todo[::97] if rehearse else todo
    passed, failed, skipped = Counter[str](), {}, Counter[str]()
    for case in sorted(todo, key=lambda case: case.check != "values"):
        if time.monotonic() > deadline:
            skipped["the time was up"] += 1
            continue
        try:
            case.run()
            passed[str(case.dtype).removeprefix("torch.")] += 1
        except SkipTest as reason:
            skipped[str(reason)] += 1
        except Exception as error:
            failed[str(case)] = f"{type(error).__name__}: {str(error)[:200]}"
    print(f"passed {dict(passed)}, failed {len(failed)}, skipped {dict(skipped)}", flush=True)
    for name, why in list(failed.items())[:10]:
        print(f"  {name}: {why}", flush=True)
    return {"passed": dict(passed), "failed": failed, "skipped": dict(skipped)}


def determinism(rehearse: bool, deadline: float) -> dict[str, bool]:
    """Whether two runs with everything switched on agree to the bit, gradients included."""
    device, length, width = ("cpu", 40, 16) if rehearse else ("cuda", 4096, 64)
    dtypes = (torch.float16,) if rehearse else (torch.float32, torch.bfloat16, torch.float16)
    return {str(dtype): _repeats(device, length, width, dtype) for dtype in dtypes}


def _repeats(device: str, length: int, width: int, dtype: torch.dtype) -> bool:
    ops, band = bind("triton"), Band(length // 8 - 1)
    torch.manual_seed(0)
    shape, columns = (2, length, 4, width), band.num_columns
    leaves = [torch.randn(shape, device=device, dtype=dtype) for _ in range(4)]
    leaves += [torch.randn(columns, 4, width, device=device, dtype=dtype), torch.randn(1, 1, 4, columns, device=device)]
    found = []
    for _ in range(2):
        q, k, v, qr, r, bias = (leaf.detach().requires_grad_() for leaf in leaves)
        out, lse = ops.attend(q, k, v, band, rel=(qr, r), bias=bias, dropout=0.1, seed=1)
        gradients = torch.autograd.grad(out.float().sum() + lse.sum(), (q, k, v, qr, r, bias))
        found.append([out, lse, *gradients])
    same = all(torch.equal(first, second) for first, second in zip(*found, strict=True))
    print(f"{dtype}: {'the same bits' if same else 'DIFFERENT'}", flush=True)
    return same

"""Are the values right, and the same every time?"""

from collections import Counter
from typing import Any
from unittest import SkipTest

import torch
from attempts import attempt

from seqmem.ops import Band, bind
from seqmem.testing import cases


def conformance(rehearse: bool, found: dict[str, Any]) -> None:
    """The public suite, every dtype against float64: values first, as many cases as there is time for."""
    device = "cpu" if rehearse else "cuda"
    dtypes = (torch.float32, torch.float16) if rehearse else (torch.float32, torch.bfloat16, torch.float16)
    todo = cases("triton", device, dtypes)
    todo = [case for case in todo if not case.layout.large][::97] if rehearse else todo
    passed, skipped, failed = Counter[str](), Counter[str](), dict[str, str]()
    found |= {"cases": len(todo), "passed": passed, "skipped": skipped, "failed": failed}
    for case in sorted(todo, key=lambda case: case.check != "values"):
        try:
            case.run()
            passed[str(case.dtype).removeprefix("torch.")] += 1
        except SkipTest as reason:
            skipped[str(reason)] += 1
        except Exception as error:
            failed[str(case)] = f"{type(error).__name__}: {str(error)[:200]}"
            print(f"{case}: {failed[str(case)]}", flush=True)
    print(f"passed {dict(passed)}, failed {len(failed)}, skipped {dict(skipped)}", flush=True)


def determinism(rehearse: bool, found: dict[str, Any]) -> None:
    """Whether two runs with everything switched on agree to the bit, gradients included, by dtype."""
    device, length, width = ("cpu", 40, 16) if rehearse else ("cuda", 4096, 64)
    for dtype in (torch.float16,) if rehearse else (torch.float32, torch.bfloat16, torch.float16):
        with attempt(found, str(dtype)):
            found[str(dtype)] = _repeats(device, length, width, dtype)


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

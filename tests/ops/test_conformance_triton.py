"""The Triton backend against the public conformance suite, its kernels interpreted on the CPU.

Not in bfloat16, whose products the interpreter gets wrong without saying so. Values and gradients of everything in
float32; the other checks, and float16, on small layouts, of operands alone and of all options together: the interpreter
is slow. Large layouts in float16 are in test_triton_tiles.py.
"""

import pytest
import torch

from seqmem.testing import Case, cases


def is_looked_at(case: Case) -> bool:
    if case.check == "repeat":  # the interpreter repeats itself
        return False
    if case.op != "attend" or (case.check == "values" and case.dtype == torch.float32):
        return True
    return not case.layout.large and case.option in (("valid",) if case.check == "union" else ("plain", "all"))


CASES = [case for case in cases("triton", dtypes=(torch.float32, torch.float16)) if is_looked_at(case)]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_conformance(case: Case):
    case.run()

"""The Triton backend against the public conformance suite, its kernels interpreted on the CPU.

Not in bfloat16, whose products the interpreter gets wrong without saying so.
"""

import pytest
import torch

from seqmem.testing import cases


@pytest.mark.parametrize("case", cases("triton", dtypes=(torch.float32, torch.float16)), ids=str)
def test_conformance(case):
    case.run()

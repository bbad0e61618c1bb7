"""The TVM backend against the public conformance suite."""

import pytest
import torch

from seqmem.testing import cases


@pytest.mark.parametrize("case", cases("tvm", dtypes=(torch.float64, torch.float32)), ids=str)
def test_conformance(case):
    case.run()

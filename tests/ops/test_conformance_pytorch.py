"""The PyTorch backend, fused, against the public conformance suite."""

import pytest

from seqmem.testing import cases


@pytest.mark.parametrize("case", cases("pytorch"), ids=str)
def test_conformance(case):
    case.run()

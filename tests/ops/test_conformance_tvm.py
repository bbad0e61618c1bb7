"""The TVM backend against the public conformance suite."""

import pytest

from seqmem.testing import cases


@pytest.mark.parametrize("case", cases("tvm"), ids=str)
def test_conformance(case):
    case.run()

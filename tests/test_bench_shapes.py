"""Useful operations are counted exactly."""

import sys
from pathlib import Path

import pytest

TOOLS = Path(__file__).parents[1] / "tools"


@pytest.fixture
def shapes(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(TOOLS / "bench"))
    import shapes

    yield shapes
    del sys.modules["shapes"]


def test_visible_keys_are_those_of_the_mask(shapes):
    for T in (1, 5, 40):
        for W in (1, 6, 64):
            for dilation in (1, 3):
                for two_sided in (False, True):
                    shape = shapes.Shape(T=T, W=W, dilation=dilation, two_sided=two_sided)
                    assert shape.num_visible == shape.band.to_mask(T, T).sum()


def test_operations_of_causal_attention_are_those_of_its_formula(shapes):
    shape = shapes.Shape(B=2, T=50, H=3, D=4, W=8)
    forward = 2 * sum(min(i + 1, 8) for i in range(50)) * 4 * 3 * 4
    assert (shape.operations(False), shape.operations(True)) == (forward, 3.5 * forward)


@pytest.mark.parametrize(
    ("options", "forward", "both_ways"),
    [({"rel": True}, 3, 11), ({"op": "band_qk"}, 1, 3), ({"op": "band_pv"}, 1, 3)],
)
def test_operations_grow_with_the_number_of_products(shapes, options: dict, forward: int, both_ways: int):
    shape = shapes.Shape(T=9, W=4, H=1, D=8, **options)
    product = 2 * 8 * (1 + 2 + 3 + 4 * 6)
    assert (shape.operations(False), shape.operations(True)) == (forward * product, both_ways * product)

"""Where costs cross is read off the straight lines between measurements; timed layers see what they say they see."""

import sys
from pathlib import Path

import pytest
import torch

from seqmem.ops import bind

TOOLS = Path(__file__).parents[1] / "tools"


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(TOOLS / "bench"))
    yield
    for name in ("crossing", "attention_layers"):
        sys.modules.pop(name, None)


def test_powers_cross_where_their_formulas_do(bench):
    from crossing import crossings

    lengths = [2**power for power in range(10, 17)]
    costs = {
        "full": {length: length / 100 for length in lengths},
        "near": dict.fromkeys(lengths, 5.0),
        "root": {length: length**0.5 for length in lengths if length < 40000},
    }
    full, near = crossings(costs)
    assert full.length == pytest.approx(10_000)
    assert str(full) == "root, than full: cheaper from about 10,000 tokens"
    assert near.length is None
    assert str(near) == "root, than near: not cheaper up to 32,768 tokens"


@pytest.mark.parametrize(
    ("of_layer", "cheaper_from"),
    [((1.0, 1.0, 1.0), 10), ((2.0, 2.0, 2.0), None), ((1.0, 4.0, 1.0), 30), ((1.0, 1.0, 4.0), None)],
)
def test_a_layer_is_to_stay_cheaper(bench, of_layer: tuple[float, ...], cheaper_from: float | None):
    from crossing import cheaper_from as found

    lengths = [10, 20, 45]
    reference = dict.fromkeys(lengths, 2.0)
    length = found(dict(zip(lengths, of_layer, strict=True)), reference, lengths)
    assert length == (cheaper_from if cheaper_from is None else pytest.approx(cheaper_from))


def test_layers_see_what_their_group_says(bench):
    from attention_layers import LAYERS, WIDTH

    torch.manual_seed(0)
    x = torch.randn(1, 24, WIDTH)
    edited = torch.cat([x[:, :16], torch.randn(1, 8, WIDTH)], 1)
    for seen, factories in LAYERS.items():
        for name, factory in factories.items():
            layer = factory(24, bind("pytorch"))
            with torch.no_grad():
                before, after = layer(x), layer(edited)
            assert before.shape == x.shape
            assert torch.isfinite(before).all()
            assert torch.allclose(before[:, :16], after[:, :16], atol=1e-6) == (seen == "causal"), name

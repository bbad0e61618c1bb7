"""The mass of attention, measured on a model whose attention is known and shown in buckets."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from seqmem.data.documents import Documents
from seqmem.errors import SeqmemError
from seqmem.report import attention
from seqmem.report.attention import buckets, draw_attention, measure

SEGMENT_LEN = 4


class Counting(nn.Module):
    """Its state counts segments; the mass on its one memory slot is that count times the number of streams."""

    config = SimpleNamespace(segment_len=SEGMENT_LEN, turnover=10)

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.measured: list[int] = []

    def init_state(self, batch_size: int) -> int:
        return 0

    def forward(self, inputs: Tensor, state: int) -> SimpleNamespace:
        assert inputs.shape[1] == SEGMENT_LEN
        return SimpleNamespace(state=state + 1)

    def attention_mass(self, inputs: Tensor, state: int) -> list[dict[str, Tensor]]:
        self.measured.append(state)
        memory = torch.tensor([float(state * len(inputs))])
        return [{"memory": memory, "segment": torch.ones(SEGMENT_LEN)}, {"memory": -memory, "segment": torch.ones(4)}]


def test_whole_segments_after_memory_has_filled_are_averaged():
    model = Counting()
    mass = measure(
        model, Documents.one(np.arange(2 * 23)), where="the model"
    )  # two streams, the last segment too short
    assert model.measured == [3, 4]
    assert mass[0]["memory"].tolist() == [2 * 3.5]
    assert mass[1]["memory"].tolist() == [-2 * 3.5]
    assert mass[0]["segment"].tolist() == [1.0] * 4


def test_a_long_text_is_sampled(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(attention, "NUM_SEGMENTS", 5)
    model = Counting()
    measure(model, Documents.one(np.arange(10_000)), where="the model")
    assert model.measured == [3, 4, 5, 6, 7]


def test_a_text_that_does_not_fill_memory_is_refused():
    with pytest.raises(SeqmemError, match="the model: 17 validation tokens do not fill its memory"):
        measure(Counting(), Documents.one(np.arange(17)), where="the model")


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        (np.arange(12), [1, 5, 9, 13, 17, 21]),
        ([6.0, 12.0], [2, 2, 2, 4, 4, 4]),
        ([3.0] * 8, [4] * 6),  # a third of every other slot goes to the next bucket
        ([], [0] * 6),
    ],
)
def test_buckets_share_out_the_mass(weights: np.ndarray | list[float], expected: list[float]):
    assert buckets(np.array(weights, dtype=float)) == pytest.approx(np.array(expected, dtype=float))


def test_a_panel_a_run_with_the_parts_it_has(tmp_path: Path):
    none, memory, segment = np.zeros(0), np.full(3, 0.1), np.full(7, 0.1)
    masses = {
        "long in one layer": [{"memory": memory, "segment": segment}, {"memory": none, "segment": segment / 0.7}],
        "no memory": [{"memory": none, "segment": segment / 0.7}],
    }
    with attention.panels(tmp_path / "by_hand.png", 2) as axes:
        for ax, mass in zip(axes, masses.values(), strict=True):
            attention._draw_mass(ax, mass)
    assert [tick.get_text() for tick in axes[0].get_xticklabels()] == ["memory 15%", "segment 85%"]
    assert [tick.get_text() for tick in axes[1].get_xticklabels()] == ["segment 100%"]
    assert [bar.get_height() for bar in axes[0].patches[:12]] == pytest.approx([0.025] * 6 + [0.85 / 6] * 6)
    assert draw_attention(masses, tmp_path / "attention.png").stat().st_size > 5000

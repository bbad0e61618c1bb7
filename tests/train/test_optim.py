"""The learning rate's course, and what decays."""

import pytest
import torch
from torch import nn

from seqmem.config import TrainConfig
from seqmem.models.base import CausalModel
from seqmem.train.optim import build_optimizer, learning_rate

CONFIG = TrainConfig(steps=110, warmup_steps=10, lr=1.0, min_lr=0.1)


@pytest.mark.parametrize(("step", "rate"), [(1, 0.1), (5, 0.5), (10, 1.0), (60, 0.55), (110, 0.1), (200, 0.1)])
def test_warm_up_then_cosine(step, rate):
    assert learning_rate(step, CONFIG) == pytest.approx(rate)


def test_no_warm_up_and_nothing_but_warm_up():
    assert learning_rate(1, TrainConfig(steps=10, warmup_steps=0, lr=1.0)) == pytest.approx(1.0, abs=0.03)
    assert learning_rate(10, TrainConfig(steps=10, warmup_steps=10, lr=1.0)) == 1.0


class Parts(CausalModel):
    """Every kind of parameter that a model may have, its embedding tied to the head."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(5, 4)
        self.norm = nn.LayerNorm(4)
        self.linear = nn.Linear(4, 4)
        self.lstm = nn.LSTM(4, 4)
        self.u = nn.Parameter(torch.ones(2, 3, 4))
        output = nn.Linear(4, 5)
        output.weight = self.embedding.weight
        self.head = output  # type: ignore[assignment]


def test_matrices_decay_but_no_biases_norms_or_vocabulary():
    model = Parts()
    optimizer = build_optimizer(model, TrainConfig(lr=0.1, weight_decay=0.5))
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    moved = {name for name, parameter in model.named_parameters() if not torch.equal(parameter, before[name])}
    assert moved == {"linear.weight", "lstm.weight_ih_l0", "lstm.weight_hh_l0"}

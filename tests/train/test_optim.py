"""The learning rate's course, what decays, and who is grouped with whom."""

import pytest
import torch
from torch import nn

from seqmem.config import TrainConfig
from seqmem.models import build_model
from seqmem.models.base import CausalModel
from seqmem.ops import bind
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


def decayed(model: CausalModel) -> set[str]:
    """Names of the parameters that an optimizer moves where all gradients are zero."""
    optimizer = build_optimizer(model, TrainConfig(lr=0.1, weight_decay=0.5))
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    return {name for name, parameter in model.named_parameters() if not torch.equal(parameter, before[name])}


def test_matrices_decay_but_no_biases_norms_or_vocabulary():
    assert decayed(Parts()) == {"linear.weight", "lstm.weight_ih_l0", "lstm.weight_hh_l0"}


def compressive(**overrides) -> CausalModel:
    return build_model("compressive/tiny", bind("pytorch"), **overrides)


@pytest.mark.parametrize("compression", ["conv", "dilated-conv"])
@pytest.mark.parametrize("loss", ["attention-reconstruction", "auto-encoding"])
def test_what_auxiliary_losses_train_is_a_group_of_its_own_that_does_not_decay(compression, loss):
    model = compressive(compression=compression, compression_loss=loss)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    groups = build_optimizer(model, TrainConfig(weight_decay=0.5)).param_groups
    own = {name for name in names.values() if name.startswith(("compressions.", "decoders."))}
    assert any(name.startswith("decoders.") for name in own) == (loss == "auto-encoding")
    assert {names[id(parameter)] for parameter in groups[-1]["params"]} == own
    assert [group["weight_decay"] for group in groups] == [0.5, 0.0, 0.0]
    assert not decayed(model) & own


@pytest.mark.parametrize(
    ("make", "num_groups"),
    [
        (Parts, 2),
        (compressive, 3),
        (lambda: compressive(compression="mean"), 2),
        (lambda: compressive(compression_loss="bptt", bptt_segments=2), 2),
        (lambda: compressive(vocab_size=60, cutoffs=(20,), div_value=2.0), 3),
    ],
    ids=["parts", "compressive", "mean", "bptt", "adaptive"],
)
def test_each_parameter_is_in_exactly_one_group(make, num_groups):
    model = make()
    groups = build_optimizer(model, TrainConfig()).param_groups
    grouped = [id(parameter) for group in groups for parameter in group["params"]]
    assert sorted(grouped) == sorted(map(id, model.parameters()))
    assert len(groups) == num_groups

"""The regulariser of Cao and Xu: its two losses beside naive ones, its gradients, and runs with and without it."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from seqmem.config import BMIConfig, Recipe, TrainConfig
from seqmem.data.documents import Documents, Laid
from seqmem.data.stream import TokenStream
from seqmem.errors import SeqmemError
from seqmem.models import MODELS, build_model
from seqmem.models.base import CausalModel
from seqmem.ops import bind
from seqmem.schema import validated
from seqmem.train import bmi
from seqmem.train.bmi import MutualInformation
from seqmem.train.pooled import pooled, watched
from seqmem.train.session import Session
from seqmem.train.stages import stages_of

CONFIG = BMIConfig(weight=0.1, segment_len=4, hidden=6, likelihood_weight=0.5, candidates=3)
TRAINING = TrainConfig(steps=20, batch_size=3, lr=1e-2, warmup_steps=5)


def a_model(name: str = "transformer-xl") -> CausalModel:
    torch.manual_seed(0)
    model = build_model(f"{name}/tiny", bind("pytorch")).double()
    for parameter in model.parameters():  # as initialised, layers hardly tell texts apart
        torch.nn.init.normal_(parameter, std=0.3)
    return model.eval()


def tokens(*shape: int) -> Tensor:
    return torch.from_numpy(np.random.default_rng(3).integers(0, 256, shape))


def naive_score(mi: MutualInformation, x: Tensor, y: Tensor) -> float:
    """T of two vectors, feature by feature."""
    x, y = x.detach(), y.detach()
    features = [*x, *y, *(x - y), *(x * y), *(x - y).abs()]
    (w1, b1), (w2, b2) = ((layer.weight.detach(), layer.bias.detach()) for layer in (mi.critic.hidden, mi.critic.score))
    hidden = [
        max(0.0, sum(float(w * f) for w, f in zip(row, features, strict=True)) + float(b))
        for row, b in zip(w1, b1, strict=True)
    ]
    return sum(float(w) * h for w, h in zip(w2[0], hidden, strict=True)) + float(b2)


def test_discrimination_is_the_jensen_shannon_bound_in_loops():
    model = a_model("lstm")
    mi = MutualInformation(CONFIG, model)
    inputs = tokens(3, 14)  # three segments and a rest
    total, parts = mi.losses(model, inputs, step=0)
    vectors = [[pooled(model, row[None, i : i + 4])[0] for i in (0, 4, 8)] for row in inputs]
    terms = []
    for row in range(3):
        for place in range(2):
            x = vectors[row][place]
            follows = naive_score(mi, x, vectors[row][place + 1])
            stray = naive_score(mi, x, vectors[(row - 1) % 3][place + 1])
            terms.append(math.log1p(math.exp(-follows)) + math.log1p(math.exp(stray)))
    assert list(parts) == ["bmi/discrimination"]
    torch.testing.assert_close(parts["bmi/discrimination"].item(), sum(terms) / 6, rtol=1e-10, atol=0)
    torch.testing.assert_close(total, 0.1 * parts["bmi/discrimination"])


def test_the_likelihood_of_candidates_in_loops(monkeypatch):
    model = a_model("lstm")
    mi = MutualInformation(CONFIG.model_copy(update={"temperature": 0.7}), model)
    inputs = tokens(3, 20)
    x_at, chosen = [1, 0, 3], [[2, 0, 4], [1, 1, 3], [4, 0, 2]]
    monkeypatch.setattr(torch, "randint", lambda *_: torch.tensor(x_at)[:, None])
    monkeypatch.setattr(Tensor, "multinomial", lambda *_, **__: torch.tensor(chosen))
    total, parts = mi.losses(model, inputs, step=1)

    def segment(row: int, place: int) -> Tensor:
        return inputs[row : row + 1, place * 4 : place * 4 + 4]

    means = []
    for row in range(3):
        x = segment(row, x_at[row])
        believed, costs = [], []
        vector = pooled(model, x)[0]
        truth = naive_score(mi, vector, pooled(model, segment(row, x_at[row] + 1))[0])
        for place in chosen[row]:
            y = segment(row, place)
            gain = naive_score(mi, vector, pooled(model, y)[0]) - truth
            believed.append(math.exp(gain / 0.7) / (0.3 * 0.7 ** abs(place - x_at[row] - 1)))
            hidden = model(torch.cat([x, y], 1), None).hidden[0]
            log_probs = model.head.logits(hidden).log_softmax(-1).detach()
            costs.append(-sum(float(log_probs[3 + i, y[0, i]]) for i in range(4)) / 4)
        means.append(sum(w * c for w, c in zip(believed, costs, strict=True)) / sum(believed))
    torch.testing.assert_close(parts["bmi/likelihood"].item(), sum(means) / 3, rtol=1e-10, atol=0)
    torch.testing.assert_close(total, 0.1 * parts["bmi/discrimination"] + 0.5 * parts["bmi/likelihood"])


@pytest.mark.parametrize("x", [0, 3, 5])
def test_proposals_are_geometric_around_the_true_segment(x):
    found = bmi.proposals(torch.tensor([x]), 7, 0.3)[0]
    expected = [0.0 if place == x else 0.3 * 0.7 ** abs(place - x - 1) for place in range(7)]
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64) / sum(expected))


@pytest.mark.parametrize("name", MODELS)
def test_every_layer_of_every_model_is_seen(name):
    model = a_model(name)
    inputs = tokens(2, 21)
    with watched(model) as layers:
        final = model(inputs, model.init_state(2)).hidden
    assert len(layers) == (0 if name in {"lstm", "reformer", "feedback"} else model.config.num_layers)
    for pieces in layers:
        assert sum(piece.shape[1] for piece in pieces) == 21
    vectors = pooled(model, inputs)
    seen = [torch.cat(pieces, 1) for pieces in layers] + [final]
    torch.testing.assert_close(vectors, torch.cat([state.max(1).values for state in seen], -1))
    with watched(model) as later:
        pass
    assert not any(later)


def test_gradients_reach_model_and_critic():
    model = a_model()
    mi = MutualInformation(CONFIG.model_copy(update={"likelihood_weight": 0.0}), model)
    inputs = tokens(2, 8)
    mi.losses(model, inputs, 1)[0].backward()
    for parameter in (model.head.weight, mi.critic.hidden.weight, next(model.blocks[0].parameters())):
        place = int(parameter.grad.abs().argmax())
        slope, step = parameter.grad.flatten()[place].item(), 1e-6
        values = []
        with torch.no_grad():
            for shift in (step, -2 * step):
                parameter.view(-1)[place] += shift
                values.append(mi.losses(model, inputs, 1)[0].item())
            parameter.view(-1)[place] += step
        assert slope == pytest.approx((values[0] - values[1]) / (2 * step), rel=1e-5)


def test_weights_of_candidates_have_no_gradient():
    model = a_model()
    mi = MutualInformation(CONFIG, model)
    vectors = pooled(model, tokens(6, 4)).unflatten(0, (2, 3))
    weights = mi.weights(vectors[:, :1], vectors[:, 1:2], vectors, torch.zeros(2, 3).double())
    assert not weights.requires_grad
    torch.testing.assert_close(weights.sum(1), torch.ones(2).double())


def session(**settings) -> Session:
    torch.manual_seed(0)
    model = build_model("transformer-xl/tiny", bind("pytorch"), segment_len=16)
    text = np.random.default_rng(1).integers(0, 256, 500)
    training = TRAINING.model_copy(update={"bmi": BMIConfig(segment_len=4, hidden=6, **settings)})
    return Session(model, TokenStream(Laid(Documents.one(text)), 3, 16), training)


def test_off_it_draws_and_adds_nothing(monkeypatch):
    monkeypatch.setattr(bmi, "pooled", None)  # whoever calls it fails
    runs = [session(), session(likelihood_weight=0.0, candidates=9)]
    plain = Session(runs[0].model, TokenStream(Laid(Documents.one(np.arange(99))), 3, 16), TRAINING)
    assert len(plain.optimizer.param_groups) == len(runs[1].optimizer.param_groups)
    for run in runs:
        assert set(run.step()) == {"grad_norm"}
        assert set(run.counters.recent_losses) == {"loss"}


def test_both_phases_are_logged_and_learnt():
    run = session(weight=0.1, likelihood_weight=0.5, after=2)
    before = run._bmi.critic.score.weight.clone()
    for _ in range(4):
        norms = run.step()
    assert set(norms) == {"grad_norm", "critic_grad_norm"}
    losses, _ = run.take_recent()
    assert {name: len(values) for name, values in losses.items()} == {
        "loss": 4,
        "bmi/discrimination": 4,
        "bmi/likelihood": 2,
    }
    assert not torch.equal(before, run._bmi.critic.score.weight)


def test_a_run_goes_on_to_the_bit(tmp_path: Path):
    whole = session(weight=0.1, likelihood_weight=0.5, after=1)
    for _ in range(2):
        whole.step()
    whole.save(tmp_path)
    weights = {name: tensor.clone() for name, tensor in whole.model.state_dict().items()}
    resumed = session(weight=0.1, likelihood_weight=0.5, after=1)
    for run in (whole, resumed):  # each from its file on, random numbers included
        run.model.load_state_dict(weights)
        run.restore(tmp_path)
        run.take_recent()
        for _ in range(2):
            run.step()
    assert whole.take_recent()[0] == resumed.take_recent()[0]
    for ours, theirs in zip(whole._parameters().values(), resumed._parameters().values(), strict=True):
        assert torch.equal(ours, theirs)


def test_the_critic_learns_what_follows():
    """Rows repeat a token of their own: a segment follows one of the same token."""
    torch.manual_seed(0)
    model = build_model("lstm/tiny", bind("pytorch"))
    text = np.repeat(np.random.default_rng(0).integers(0, 256, 300), 16)
    training = TRAINING.model_copy(update={"batch_size": 8, "bmi": BMIConfig(weight=1.0, segment_len=4)})
    run = Session(model, TokenStream(Laid(Documents.one(text)), 8, 16), training)
    for _ in range(60):
        run.step()
    found = run.take_recent()[0]["bmi/discrimination"]
    assert np.mean(found[:5]) == pytest.approx(2 * math.log(2), abs=0.1)
    assert np.mean(found[-10:]) < 0.8


@pytest.mark.parametrize(
    ("training", "more", "message"),
    [
        ({"bmi": {"likelihood_weight": 1.0}}, {}, "likelihood_weight needs the critic that weight trains; set weight"),
        ({"bmi": {"weight": -1}}, {}, "train.bmi.weight"),
        ({"bmi": {"wieght": 1}}, {}, "unknown key 'train.bmi.wieght'.*weight"),
        ({"bmi": {"weight": 0.1}}, {"masking": {}}, "train.bmi is of causal models; leave it out"),
        ({"bmi": {"weight": 0.1}, "batch_size": 1}, {}, "set train.batch_size to 2 or more"),
        ({"bmi": {"weight": 0.1, "segment_len": 17}}, {}, "two of them do not fit a row of 32 tokens; lower it"),
        (
            {"bmi": {"weight": 0.1}, "stages": [{"steps": 1, "lr": 1, "model": {"segment_len": 16}}]},
            {},
            "do not fit a row of 16 tokens",
        ),
    ],
)
def test_unusable_settings_are_errors(training, more, message):
    recipe = dict(name="r", description="d", model={"name": "transformer", "size": "tiny"}, train=training, **more)
    with pytest.raises(SeqmemError, match=message):
        stages_of(validated(Recipe, recipe, "recipe"))

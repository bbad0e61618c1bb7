"""Mixtures of logistics: probabilities, gradients, samples; as heads of transformers; sizes for sound."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from seqmem.errors import SeqmemError
from seqmem.generate.sampling import Sampler
from seqmem.layers.logistics import EmbeddingLogisticMixture, LogisticMixture
from seqmem.layers.vocabulary import Softmax, TiedSoftmax
from seqmem.models import build_model, model_config
from seqmem.ops import bind, logistics
from seqmem.testing import check_state_law

LEVELS = 1 << 16
WILD = st.floats(-1e4, 1e4, width=32, allow_subnormal=False)  # which training may have switched off


def mixture(*rows: tuple[float, float, float], dtype=torch.float64) -> torch.Tensor:
    """Parameters of one mixture, a row ``(logit, mean, log-scale)`` for each logistic."""
    return torch.tensor(rows, dtype=dtype).T.flatten()


SHAPES = {
    "broad": mixture((0.0, 0.1, -2.0), (1.0, -0.4, -3.0)),
    "narrower than a level": mixture((0.0, 0.01, -13.0), (0.3, 0.7, -11.0)),
    "beyond both ends": mixture((0.0, -1.5, -4.0), (0.0, 2.0, -1.0)),
    "flat": mixture((0.0, 0.0, 5.0)),
    "clamped": mixture((0.0, 0.3, -60.0), (0.0, -0.3, 90.0)),
}


@pytest.mark.parametrize("num_levels", [2, 256, LEVELS])
@pytest.mark.parametrize("parameters", SHAPES.values(), ids=SHAPES)
def test_probabilities_of_all_levels_sum_to_one(parameters, num_levels):
    log_probs = logistics.log_prob(parameters.expand(num_levels, -1), torch.arange(num_levels), num_levels)
    assert log_probs.exp().sum().item() == pytest.approx(1, abs=1e-10)


def test_probabilities_are_differences_of_the_distribution_function():
    levels = torch.arange(100)
    found = logistics.log_prob(SHAPES["broad"].expand(100, -1), levels, 100).exp()
    weights = torch.tensor([1, math.e], dtype=torch.float64) / (1 + math.e)
    borders = torch.cat(
        [torch.tensor([-torch.inf]), torch.arange(99).double() * 2 / 99 - 98 / 99, torch.tensor([torch.inf])]
    )
    means, log_scales = torch.tensor([[0.1, -0.4], [-2.0, -3.0]], dtype=torch.float64)
    below = ((borders[:, None] - means) / log_scales.exp()).sigmoid() @ weights
    torch.testing.assert_close(found, below.diff(), rtol=0, atol=1e-12)


@pytest.mark.parametrize("distance", [0.0, 1e-3, 0.5, 2.0])
@pytest.mark.parametrize("log_scale", [-13.0, -9.0, -5.0, 0.0, 6.0])
def test_float32_keeps_tiny_probabilities(distance, log_scale):
    """A difference of sigmoids would be 0 here, and its logarithm infinite."""
    levels = torch.tensor([20000, 40000, 0, LEVELS - 1])
    value = logistics.value(levels, LEVELS, torch.float64)
    parameters = torch.stack([mixture((0.0, float(v) + distance, log_scale)) for v in value])
    exact = logistics.log_prob(parameters, levels, LEVELS)
    found = logistics.log_prob(parameters.float(), levels, LEVELS)
    assert found.dtype == torch.float32
    # A value next to 1 has an error of 6e-8, which counts in units of the scale.
    slack = 1e-6 * math.exp(-log_scale)
    torch.testing.assert_close(found.double(), exact, rtol=1e-4, atol=1e-4 + slack)


@settings(deadline=None, max_examples=80)
@given(st.lists(st.tuples(WILD, WILD, WILD), min_size=1, max_size=3), st.integers(0, LEVELS - 1))
def test_gradients_are_finite_everywhere(rows, level):
    parameters = mixture(*rows, dtype=torch.float32).requires_grad_()
    log_prob = logistics.log_prob(parameters, torch.tensor(level), LEVELS)
    (gradient,) = torch.autograd.grad(log_prob, parameters)
    assert log_prob.isfinite()
    assert gradient.isfinite().all()


def test_gradients_are_the_derivatives():
    parameters = torch.stack([SHAPES["broad"], SHAPES["beyond both ends"]])
    levels = torch.tensor([0, 99])
    for shift in (0, 37):
        assert torch.autograd.gradcheck(
            lambda p, shift=shift: logistics.log_prob(p, (levels - shift).abs(), 100), parameters.requires_grad_()
        )


def head(width=4, levels=40) -> EmbeddingLogisticMixture:
    torch.manual_seed(0)
    made = EmbeddingLogisticMixture(levels, width, 3).double()
    made.reset_parameters(0.5)
    return made


def test_logits_are_the_normalised_nll_of_every_level():
    hidden = torch.randn(2, 3, 4, dtype=torch.float64)
    log_probs = head().logits(hidden)
    torch.testing.assert_close(log_probs.exp().sum(-1), torch.ones(2, 3, dtype=torch.float64))
    for level in (0, 17, 39):
        torch.testing.assert_close(head().nll(hidden, torch.full((2, 3), level)), -log_probs[..., level])


def test_half_hidden_states_have_a_likelihood_in_float32():
    hidden = torch.randn(2, 4)
    found = head().bfloat16().nll(hidden.bfloat16(), torch.tensor([3, 30]))
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, head().float().nll(hidden, torch.tensor([3, 30])), rtol=0.05, atol=0.05)


@torch.no_grad()
def test_samples_follow_the_distribution():
    hidden = torch.randn(1, 4, dtype=torch.float64)
    sampler = Sampler(generator=torch.Generator().manual_seed(0))
    drawn = head().sample(hidden.expand(40000, 4), sampler)
    frequency = drawn.bincount(minlength=40) / 40000
    assert (frequency - head().logits(hidden)[0].exp()).abs().max() < 0.01


@torch.no_grad()
def test_temperature_narrows_and_zero_is_the_likeliest_mean():
    parameters = mixture((2.0, 0.25, -3.0), (1.0, -0.25, -3.0)).expand(20000, -1)
    uniform = Sampler(generator=torch.Generator().manual_seed(0)).uniform(20000, device=torch.device("cpu"))
    assert logistics.draw(parameters, LEVELS, uniform, 0.0, 1.0).unique().tolist() == [round(1.25 / 2 * (LEVELS - 1))]
    for temperature in (0.5, 1.0):
        drawn = logistics.value(logistics.draw(parameters, LEVELS, uniform, temperature, 1.0), LEVELS, torch.float64)
        first = drawn > 0
        odds = math.exp(1 / temperature)
        assert first.double().mean().item() == pytest.approx(odds / (1 + odds), abs=0.01)
        spread = math.pi / math.sqrt(3) * math.exp(-3) * temperature
        assert drawn[first].std().item() == pytest.approx(spread, rel=0.05)
    assert (logistics.draw(parameters, LEVELS, uniform, 1.0, 0.7) > LEVELS // 2).double().mean() > 0.99


def test_embedding_is_linear_in_the_value():
    made = head(levels=5)
    vectors = made.embed(torch.arange(5)[None])[0]
    torch.testing.assert_close(vectors[2], made.value_bias)
    torch.testing.assert_close(vectors.diff(dim=0), (made.value_weight / 2).expand(4, -1))


def test_biases_spread_the_means():
    made = LogisticMixture(LEVELS, 8, 4)
    made.reset_parameters(0.1)
    logits, means, log_scales = made.bias.chunk(3)
    assert (logits.tolist(), means.tolist(), log_scales.unique().tolist()) == (
        [0] * 4,
        [-0.375, -0.125, 0.125, 0.375],
        [-3],
    )


def test_the_untied_softmax_has_no_embedding():
    assert not hasattr(Softmax(5, 3), "embed")
    assert issubclass(TiedSoftmax, Softmax)


TRANSFORMERS = {"transformer-xl": {"mem_len": 9}, "compressive": {"mem_len": 6, "cmem_len": 4, "compression_rate": 2}}


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_transformers_with_a_mixture_obey_the_state_law_and_learn(name):
    torch.manual_seed(0)
    options = dict(vocab_size=LEVELS, segment_len=6, head="logistic-mixture", **TRANSFORMERS[name])
    model = build_model(f"{name}/tiny", bind("pytorch"), **options).double()
    ids = torch.randint(0, LEVELS, (2, 60))
    assert all(result.passed for result in check_state_law(model.eval(), ids))
    model.head.nll(model.train()(ids).hidden, ids).mean().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in model.head.parameters())
    assert model.num_parameters < 60000


@pytest.mark.parametrize(
    ("options", "message"),
    [({"num_phases": 2}, "logistic-mixture.*use softmax"), ({"cutoffs": (100,)}, "cutoffs .* leave them out")],
)
def test_what_a_mixture_cannot_be_is_refused(options, message):
    with pytest.raises(SeqmemError, match=message):
        model_config("transformer-xl/tiny", vocab_size=LEVELS, head="logistic-mixture", **options)


def num_parameters(name: str) -> int:
    with torch.device("meta"):
        return build_model(name, bind("pytorch")).num_parameters


def test_sizes_for_a_cpu_match_within_two_percent():
    counts = [num_parameters(f"{name}/audio-cpu") for name in ("wavenet", "transformer-xl", "compressive")]
    assert max(counts) / min(counts) < 1.02


@pytest.mark.parametrize("name", ["transformer-xl", "compressive"])
def test_the_published_setting_has_about_40m(name):
    config = model_config(f"{name}/audio-40m")
    assert (config.num_layers, config.segment_len, config.mem_lens[0]) == (20, 768, 768)
    assert num_parameters(f"{name}/audio-40m") == pytest.approx(40e6, rel=0.02)
    if name == "compressive":
        assert (config.cmem_lens[0], config.compression_rate) == (768, 4)

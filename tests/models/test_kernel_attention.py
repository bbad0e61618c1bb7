"""Attention by features: recurrent = quadratic, random features approach the softmax, redraws, and large scores."""

import math
from itertools import pairwise

import pytest
import torch

from seqmem.layers.features import EluFeatures, RandomFeatures, orthogonal
from seqmem.layers.kernel_attention import KernelAttention
from seqmem.models import build_model
from seqmem.ops import bind

OPS = bind("pytorch")
WIDTH, HEADS, LENGTH = 16, 2, 33


def make(features):
    """An attention in float64 with large weights."""
    torch.manual_seed(0)
    attention = KernelAttention(WIDTH * HEADS, HEADS, features, OPS).double().eval()
    for parameter in attention.parameters():
        torch.nn.init.normal_(parameter, 0, 0.3)
    attention.reset_parameters(0.3)
    return attention


def quadratic(attention, x):
    """The same by all pairs of a query and a key, features taken from their logs as they are."""
    q, k, v = attention.qkv(x).unflatten(-1, (3, HEADS, WIDTH)).unbind(2)
    weights = torch.einsum("bthm,bshm->bhts", attention.features(q).exp(), attention.features(k).exp()).tril()
    return attention.out(torch.einsum("bhts,bshd->bthd", weights / weights.sum(-1, keepdim=True), v).flatten(2))


@pytest.mark.parametrize("features", [EluFeatures(WIDTH), RandomFeatures(WIDTH, 20, 0)], ids=["elu", "random"])
def test_recurrent_equals_quadratic(features):
    attention = make(features)
    x = torch.randn(2, 150, WIDTH * HEADS).double()
    torch.testing.assert_close(attention(x, attention.init_state(2))[0], quadratic(attention, x), rtol=0, atol=1e-10)


@pytest.mark.parametrize("features", [EluFeatures(WIDTH), RandomFeatures(WIDTH, 20, 0)], ids=["elu", "random"])
def test_gradients_equal_those_of_the_quadratic_form(features):
    attention = make(features)
    x = torch.randn(2, LENGTH, WIDTH * HEADS).double().requires_grad_()
    leaves = [x, *attention.parameters()]
    grad = torch.randn_like(x)
    ours = torch.autograd.grad(attention(x, attention.init_state(2))[0], leaves, grad)
    torch.testing.assert_close(ours, torch.autograd.grad(quadratic(attention, x), leaves, grad), rtol=0, atol=1e-9)


def test_elu_features_are_elu_plus_one():
    x = torch.linspace(-5, 5, 101).double().view(1, 1, 1, -1)
    torch.testing.assert_close(EluFeatures(101)(x).exp(), torch.nn.functional.elu(x) + 1)


def test_random_features_approach_the_softmax_kernel():
    """The mean over draws is the kernel, and the error of one draw falls as one over the root of their number."""
    torch.manual_seed(0)
    q, k = 0.4 * torch.randn(2, 1, 1, 1, WIDTH).double()
    kernel = (q * k).sum().div(math.sqrt(WIDTH)).exp().item()

    def errors(num_features, num_draws=300):
        drawn = []
        features = RandomFeatures(WIDTH, num_features, 0)
        for _ in range(num_draws):
            features.reset_parameters()
            drawn.append((features(q).exp() * features(k).exp()).sum().item() / kernel - 1)
        return torch.tensor(drawn)

    few, many = errors(WIDTH), errors(16 * WIDTH)
    assert abs(many.mean()) < 3 * many.std() / math.sqrt(300)
    assert 2.5 < few.std() / many.std() < 6


def test_orthogonal_directions_vary_less_than_independent_ones():
    torch.manual_seed(0)
    q, k = 0.4 * torch.randn(2, 40, 1, 1, WIDTH).double()
    features = RandomFeatures(WIDTH, WIDTH, 0)
    variances = {}
    for name, draw in (("orthogonal", orthogonal), ("independent", torch.randn)):
        estimates = []
        for _ in range(1000):
            features.directions.copy_(draw(WIDTH, WIDTH))
            estimates.append((features(q).exp() * features(k).exp()).sum(-1))
        variances[name] = torch.stack(estimates).var(0).mean()
    assert variances["orthogonal"] < variances["independent"]


def test_directions_are_orthogonal_and_as_long_as_normal_vectors():
    torch.manual_seed(0)
    directions = orthogonal(40, 16)
    products = directions[:16] @ directions[:16].T
    torch.testing.assert_close(products, products.diagonal().diag(), rtol=0, atol=1e-4)
    assert directions.shape == (40, 16)
    lengths = torch.cat([orthogonal(16, 16) for _ in range(60)]).square().sum(1)
    assert abs(lengths.mean() - 16) < 1


def test_large_scores_overflow_nothing():
    """In float32 features of these keys are as large as exp(400)."""
    attention = make(RandomFeatures(WIDTH, 32, 0)).float()
    x = 60 * torch.randn(1, LENGTH, WIDTH * HEADS)
    out, state = attention(x, attention.init_state(1))
    assert out.isfinite().all()
    assert state.sums.isfinite().all()


def test_directions_are_drawn_anew_in_training_and_sums_begin_anew():
    torch.manual_seed(0)
    model = build_model("performer/tiny", OPS, redraw_every=2, carry=True)
    features = model.blocks[0].mixer.features
    ids = torch.randint(0, 256, (1, 8))
    drawn, state = [], None
    for _ in range(5):
        state = model(ids, state).state
        drawn.append(features.directions.clone())
    assert [torch.equal(a, b) for a, b in pairwise(drawn)] == [True, False, True, False]
    assert state.layers[0].draw == 2
    model.eval()
    first = model(ids).hidden
    assert torch.equal(model(ids).hidden, first)
    assert model.blocks[0].mixer.features.draw() == 2

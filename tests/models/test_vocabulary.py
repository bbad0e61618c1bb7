"""Tied and adaptive softmax: probabilities, sharing, gradients."""

import math

import pytest
import torch
from torch.autograd import gradcheck

from seqmem.layers.vocabulary import AdaptiveSoftmax, TiedSoftmax


def heads():
    torch.manual_seed(0)
    made = [TiedSoftmax(50, 16), AdaptiveSoftmax(50, 16, (10, 30), 2.0), AdaptiveSoftmax(50, 16, (10, 30), 1.0)]
    for head in made:
        head.double().reset_parameters(0.02)
        for parameter in head.parameters():
            torch.nn.init.normal_(parameter, 0, 0.3)
    return made


@pytest.mark.parametrize("head", heads(), ids=["tied", "adaptive, narrowing", "adaptive"])
def test_nll_is_minus_a_normalised_log_probability(head):
    hidden = torch.randn(2, 7, 16, dtype=torch.float64)
    targets = torch.randint(0, 50, (2, 7))
    log_probs = head.logits(hidden).log_softmax(-1)
    torch.testing.assert_close(head.nll(hidden, targets), -log_probs.gather(-1, targets[..., None])[..., 0])
    assert gradcheck(lambda x: head.nll(x, targets), hidden.requires_grad_(), fast_mode=True)


@pytest.mark.parametrize("head", heads(), ids=["tied", "adaptive, narrowing", "adaptive"])
def test_samples_follow_the_distribution(head):
    hidden = torch.randn(1, 16, dtype=torch.float64).expand(20000, 16)
    generator = torch.Generator().manual_seed(0)
    drawn = head.sample(hidden, lambda logits: logits.softmax(-1).multinomial(1, generator=generator)[:, 0])
    frequency = drawn.bincount(minlength=50) / 20000
    assert (frequency - head.logits(hidden[:1]).softmax(-1)[0]).abs().max() < 0.015


def test_embedding_and_softmax_are_one_matrix():
    tied, adaptive, _ = heads()
    ids = torch.arange(50)[None]
    torch.testing.assert_close(tied.embed(ids)[0], tied.weight * math.sqrt(16))
    torch.testing.assert_close(adaptive.embed(ids)[0, :10], adaptive.softmax.head.weight[:10] * 4)
    tail = adaptive.softmax.tail[1][1].weight
    torch.testing.assert_close(adaptive.embed(ids)[0, 30:], tail @ adaptive.projections[1].weight.T * 4)


def test_adaptive_initialisation_gives_projections_a_smaller_spread():
    head = AdaptiveSoftmax(5000, 64, (1000, 3000), 1.0)
    head.reset_parameters(0.02)
    assert head.projections[0].weight.std().item() == pytest.approx(0.01, rel=0.1)
    assert head.softmax.tail[0][0].weight.std().item() == pytest.approx(0.01, rel=0.1)
    assert head.softmax.tail[0][1].weight.std().item() == pytest.approx(0.02, rel=0.1)

"""The adaptive softmax of Transformer-XL's authors against its definition; gradients, configurations refused."""

import math
from itertools import pairwise

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck

from seqmem.errors import SeqmemError
from seqmem.layers.projected_softmax import ProjectedSoftmax
from seqmem.models import build_model
from seqmem.ops import bind

HEADS = {
    "narrowing": dict(cutoffs=(10, 30), div_value=2, d_embed=16, tied=(False, True, True)),
    "narrowing, narrower than d": dict(cutoffs=(10, 30), div_value=2, d_embed=12, tied=(True, False, False)),
    "one width": dict(cutoffs=(10, 30), div_value=1, d_embed=12, tied=(False, True, False)),
    "no projections": dict(cutoffs=(10, 30), div_value=1, d_embed=16, tied=(True, True, True)),
    "one cluster": dict(cutoffs=(), div_value=2, d_embed=12, tied=(False,)),
}


def make(label: str) -> ProjectedSoftmax:
    torch.manual_seed(0)
    head = ProjectedSoftmax(50, 16, **HEADS[label]).double()
    for parameter in head.parameters():
        torch.nn.init.normal_(parameter, 0, 0.3)
    return head


def by_tokens(head: ProjectedSoftmax, settings: dict) -> tuple[Tensor, Tensor]:
    """Embedding ``[V, d]`` and, of logits, a matrix and a bias for [tokens | clusters], one token after the other."""
    borders = [0, *settings["cutoffs"], 50]
    projected = settings["div_value"] > 1 or settings["d_embed"] != 16
    embedded, classes = [], []
    for token in range(50):
        cluster = sum(token >= border for border in borders[1:-1])
        table = cluster if settings["div_value"] > 1 else 0
        vector = head.vectors[table][token - (borders[cluster] if settings["div_value"] > 1 else 0)]
        shared = head.projections[table] if projected else torch.eye(16, dtype=torch.float64)
        own = shared if settings["tied"][cluster] or not projected else head.own_projections[str(cluster)]
        embedded.append(shared @ vector * math.sqrt(16))
        classes.append(own @ vector)
    return torch.stack(embedded), torch.stack(classes)


@pytest.mark.parametrize("label", HEADS)
@torch.no_grad()
def test_probability_is_that_of_the_cluster_times_that_within_it(label: str):
    head, settings = make(label), HEADS[label]
    embedded, classes = by_tokens(head, settings)
    torch.testing.assert_close(head.embed(torch.arange(50)[None])[0], embedded)
    hidden = torch.randn(7, 16, dtype=torch.float64)
    scores = hidden @ classes.T + torch.cat(list(head.biases))
    borders = [0, *settings["cutoffs"], 50]
    pieces = [scores[:, low:high] for low, high in pairwise(borders)]
    if settings["cutoffs"]:
        first = torch.eye(16, dtype=torch.float64)[:, : settings["d_embed"]]
        if len(head.projections):
            first = head.projections[0] if settings["tied"][0] else head.own_projections["0"]
        pieces[0] = torch.cat([pieces[0], hidden @ (first @ head.cluster_vectors.T) + head.cluster_bias], 1)
    within = [piece.log_softmax(1) for piece in pieces]
    size = borders[1]
    rest = [piece + within[0][:, size + i, None] for i, piece in enumerate(within[1:])]
    wanted = torch.cat([within[0][:, :size], *rest], 1)
    torch.testing.assert_close(head.logits(hidden), wanted)
    torch.testing.assert_close(wanted.logsumexp(1), torch.zeros(7, dtype=torch.float64))


@pytest.mark.parametrize("label", HEADS)
def test_likelihood_is_that_of_the_logits_and_has_gradients(label: str):
    head = make(label)
    hidden = torch.randn(2, 5, 16, dtype=torch.float64)
    targets = torch.tensor([[0, 9, 10, 29, 30], [49, 5, 3, 12, 12]])
    torch.testing.assert_close(head.nll(hidden, targets), -head.logits(hidden).gather(-1, targets[..., None])[..., 0])
    assert gradcheck(lambda x: head.nll(x, targets), hidden.requires_grad_(), fast_mode=True)
    head.nll(hidden, targets).sum().backward()
    without = {name for name, parameter in head.named_parameters() if parameter.grad is None}
    shared = {
        f"projections.{i if HEADS[label]['div_value'] > 1 else 0}"
        for i, tied in enumerate(HEADS[label]["tied"])
        if tied
    }
    assert without == {name for name, _ in head.named_parameters() if name.startswith("projections.")} - shared


def test_projections_start_small_and_biases_at_zero():
    head = ProjectedSoftmax(5000, 64, (1000, 3000), 1, 32, (False, True, True))
    head.reset_parameters(0.02)
    assert head.projections[0].std().item() == pytest.approx(0.01, rel=0.1)
    assert head.own_projections["0"].std().item() == pytest.approx(0.01, rel=0.1)
    assert head.vectors[0].std().item() == pytest.approx(0.02, rel=0.1)
    assert head.cluster_vectors is not None
    assert head.cluster_vectors.std().item() == pytest.approx(0.02, rel=0.3)
    assert not torch.cat([*head.biases, head.cluster_bias]).any()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"cutoffs": (30, 20)}, r"cutoffs = \(30, 20\) should rise between 0 and vocab_size = 256"),
        ({"cutoffs": (256,)}, "should rise between 0 and vocab_size = 256"),
        ({"cutoffs": (20,), "projected": {"d_embed": 8, "tied": (True,)}}, "tied has 1 values for 2 clusters"),
        ({"cutoffs": (20,), "div_value": 1.5, "projected": {"d_embed": 8, "tied": (True, True)}}, "whole widths"),
        ({"cutoffs": (20,), "div_value": 16, "projected": {"d_embed": 8, "tied": (True, True)}}, "whole widths"),
    ],
)
def test_clusters_that_do_not_fit_are_errors(settings: dict, message: str):
    with pytest.raises(SeqmemError, match=message):
        build_model("transformer-xl/tiny", bind("pytorch"), **settings)

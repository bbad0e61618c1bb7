"""Adaptive span against its equations, written as loops; its gradients, its range, and what it spares."""

import math

import pytest
import torch
from torch import Tensor

from seqmem.config import TrainConfig
from seqmem.data.documents import Documents, Laid
from seqmem.data.stream import TokenStream
from seqmem.layers import adaptive_span as layer
from seqmem.models import build_model, model_config
from seqmem.models.adaptive_span import AdaptiveSpan
from seqmem.ops import bind
from seqmem.train.session import Session

TINY = {"vocab_size": 30, "d_model": 8, "head_dim": 4, "d_inner": 10, "segment_len": 9, "max_span": 11, "ramp": 3}


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that heads of a tiny model differ in what they look at."""
    monkeypatch.setattr(layer, "BLOCK", 2)


def make(*spans: float, **overrides) -> AdaptiveSpan:
    """Spans, as shares, of each head of each layer."""
    torch.manual_seed(0)
    model = build_model("adaptive-span/tiny", bind("pytorch"), **TINY, **overrides).double().eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, 0, 0.3)
    for block in model.blocks:
        block.mixer.span.data = torch.tensor(spans).double()
    assert isinstance(model, AdaptiveSpan)
    return model


def tokens(length: int) -> Tensor:
    return torch.randint(0, 30, (1, length), generator=torch.Generator().manual_seed(1))


def by_loops(model: AdaptiveSpan, ids: Tensor) -> Tensor:
    """One sequence ``[T]``: softmax over the last S tokens, times the mask, renormalised."""
    c = model.config
    rows = [model.head.weight[i] * math.sqrt(c.d_model) for i in ids]
    for block in model.blocks:
        mixer, mixed = block.mixer, []
        w_q, w_k, w_v = mixer.qkv.weight.view(3, c.num_heads, c.head_dim, c.d_model)
        for i in range(len(rows)):
            heads = []
            for h, z in enumerate(mixer.span * c.max_span):
                seen = range(max(0, i - c.max_span), i)
                q = w_q[h] @ rows[i]
                scores = [q @ (w_k[h] @ rows[j] + model.distances[c.max_span - (i - j)]) for j in seen]
                probs = (torch.tensor(scores).double() / math.sqrt(c.head_dim)).softmax(0)
                mask = torch.tensor([((c.ramp + z - (i - j - 1)) / c.ramp).clamp(0, 1) for j in seen]).double()
                weights = probs * mask
                zero = torch.zeros(c.head_dim).double()
                heads.append(
                    sum((w * (w_v[h] @ rows[j]) / weights.sum() for w, j in zip(weights, seen, strict=True)), zero)
                )
            mixed.append(block.mixer_norm(rows[i] + mixer.out(torch.cat(heads))))
        rows = [block.feed_forward_norm(row + block.feed_forward(row)) for row in mixed]
    return torch.stack(rows)


@pytest.mark.parametrize("spans", [(0.0, 0.0), (0.3, 0.55), (0.0, 1.0), (1.0, 1.0)])
@torch.no_grad()
def test_values(spans: tuple[float, float]):
    model = make(*spans)
    ids = tokens(25)
    torch.testing.assert_close(model(ids).hidden[0], by_loops(model, ids[0]), rtol=0, atol=1e-10)


def test_the_whole_span_is_a_plain_window():
    model = make(1.0, 1.0)
    log_mask = model.blocks[0].mixer.log_mask(11)
    assert torch.equal(log_mask[..., :-1], torch.zeros(1, 1, 2, 11).double())
    assert (log_mask[..., -1] == -torch.inf).all()


@pytest.mark.parametrize("z", [0.0, 2 / 11, 0.4, 1.0])
def test_a_span_learns_from_its_ramp_alone_and_its_gradient_is_finite(z: float):
    model = make(z, z)
    ids = tokens(25)
    model.head.nll(model(ids[:, :-1]).hidden, ids[:, 1:]).mean().backward()
    for block in model.blocks:
        assert torch.isfinite(block.mixer.span.grad).all()
        has_ramp = 11 * z < 11 - 1  # some key of S is only partly seen
        assert bool(block.mixer.span.grad.abs().max() > 0) == has_ramp


def test_gradients_of_spans_are_those_of_the_loss():
    model, ids = make(0.35, 0.6), tokens(25)

    def loss() -> Tensor:
        return model.head.nll(model(ids[:, :-1]).hidden, ids[:, 1:]).mean()

    loss().backward()
    span, step = model.blocks[0].mixer.span, 1e-6
    for head in range(2):
        with torch.no_grad():
            span[head] += step
            more = loss()
            span[head] -= 2 * step
            less = loss()
            span[head] += step
        assert span.grad[head].item() == pytest.approx((more - less).item() / (2 * step), rel=1e-5)


def test_shorter_spans_look_at_fewer_keys():
    assert make(0.0, 0.0).spans() == [(4, 4)] * 2
    assert make(0.3, 0.55).spans() == [(8, 10)] * 2
    assert make(1.0, 0.0).spans() == [(11, 4)] * 2


def test_length_costs_and_training_keeps_spans_in_their_range():
    torch.manual_seed(0)
    model = build_model("adaptive-span/tiny", bind("pytorch"), **TINY, span_loss=0.5)
    stream = TokenStream(Laid(Documents.one(torch.randint(0, 30, (500,)).numpy())), 2, 9)
    session = Session(model, stream, TrainConfig(batch_size=2, lr=0.05, warmup_steps=0, grad_clip=10.0))
    for block in model.blocks:
        block.mixer.span.data.fill_(0.1)
    model.eval()
    assert model(tokens(9)).losses["span"].item() == pytest.approx(0.5 * 11 * 0.1 * 2)
    model.train()
    for _ in range(8):
        session.step()
    assert all((block.mixer.span == 0).all() for block in model.blocks)


@pytest.mark.parametrize(("size", "millions"), [("enwik8-small", 38), ("text8-small", 38), ("enwik8-large", 209)])
def test_published_sizes(size: str, millions: int):
    with torch.device("meta"):
        model = build_model(model_config(f"adaptive-span/{size}"), bind())
    assert model.num_parameters / 1e6 == pytest.approx(millions, rel=0.02)

"""Longformer's language model against its equations, written as loops, and its sizes as published."""

import math

import pytest
import torch
from torch import Tensor

from seqmem.errors import SeqmemError
from seqmem.models import build_model, model_config
from seqmem.models.longformer_lm import LongformerLM
from seqmem.ops import bind

TINY = {"vocab_size": 30, "d_model": 12, "num_heads": 3, "head_dim": 4, "d_inner": 10, "segment_len": 9}


def make(**overrides) -> LongformerLM:
    torch.manual_seed(0)
    model = build_model("longformer-lm/tiny", bind("pytorch"), **TINY, **overrides).double().eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, 0, 0.3)
    assert isinstance(model, LongformerLM)
    return model


def by_loops(model: LongformerLM, ids: Tensor) -> Tensor:
    """One sequence ``[T]``, score by score."""
    c = model.config
    half = torch.arange(0, c.d_model, 2).double()

    def encoding(distance: int) -> Tensor:
        angles = distance / 10000 ** (half / c.d_model)
        return torch.cat([angles.sin(), angles.cos()])

    rows = [model.head.weight[i] * math.sqrt(c.d_model) for i in ids]
    for layer, block in enumerate(model.blocks):
        mixer, normed = block.mixer, [block.mixer_norm(row) for row in rows]
        w_q, w_k, w_v = mixer.qkv.weight.view(3, c.num_heads, c.head_dim, c.d_model)
        w_r = mixer.positions.weight.view(c.num_heads, c.head_dim, c.d_model)
        mixed = []
        for i in range(len(rows)):
            heads = []
            for h, dilation in enumerate(c.dilations(layer)):
                seen = [i - step * dilation for step in range(c.windows[layer]) if i >= step * dilation]
                if not c.carry:
                    seen = [j for j in seen if j >= i - i % c.segment_len]
                q = w_q[h] @ normed[i]
                scores = [
                    (q + mixer.u[h]) @ w_k[h] @ normed[j] + (q + mixer.v[h]) @ w_r[h] @ encoding(i - j) for j in seen
                ]
                probs = (torch.stack(scores) / math.sqrt(c.head_dim)).softmax(0)
                heads.append(sum(p * (w_v[h] @ normed[j]) for p, j in zip(probs, seen, strict=True)))
            mixed.append(rows[i] + mixer.out(torch.cat(heads)))
        rows = [row + block.feed_forward(block.feed_forward_norm(row)) for row in mixed]
    return model.final_norm(torch.stack(rows))


@pytest.mark.parametrize(
    "overrides",
    [
        {},
        {"window": (5, 3), "dilation": (2, 4), "dilated_heads": 2},
        {"window": 4, "dilation": 3, "dilated_heads": 3},
        {"window": 1},
        {"carry": False},
    ],
    ids=str,
)
@torch.no_grad()
def test_values(overrides):
    model = make(**overrides)
    ids = torch.randint(0, 30, (1, 25), generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(model(ids).hidden[0], by_loops(model, ids[0]), rtol=0, atol=1e-10)


@pytest.mark.parametrize(("size", "millions"), [("small", 41), ("large", 102)])
@pytest.mark.parametrize("corpus", ["enwik8", "text8"])
def test_published_sizes(corpus: str, size: str, millions: int):
    config = model_config(f"longformer-lm/{corpus}-{size}")
    with torch.device("meta"):
        model = build_model(config, bind())
    assert model.num_parameters / 1e6 == pytest.approx(millions, rel=0.01)
    assert sum(config.windows) / len(config.windows) == pytest.approx(230, rel=0.1)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"window": -1}, "window has no limit in some layer"),
        ({"dilated_heads": 4}, "dilated_heads = 4 of 3 heads"),
        ({"window": (4, 4, 4)}, "window has 3 values for 2 layers"),
    ],
)
def test_what_does_not_fit_is_named(overrides, message):
    with pytest.raises(SeqmemError, match=message):
        make(**overrides)


def test_a_state_is_as_large_after_many_tokens_as_after_a_window():
    model = make(window=(5, 3), dilation=(1, 2))
    ids = torch.zeros(2, 60, dtype=torch.int64)
    first, later = model(ids[:, :20]).state, model(ids).state
    assert [past.shape for past in first.past] == [past.shape for past in later.past] == [(2, 4, 12), (2, 4, 12)]

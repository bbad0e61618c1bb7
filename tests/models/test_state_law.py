"""Whole = chunked = token by token = cached generation, for every model, and the check can fail."""

import pytest
import torch

from seqmem.models import MODELS as CAUSAL_MODELS
from seqmem.models import build_model
from seqmem.ops import Band, bind
from seqmem.testing import check_state_law

MODELS = {
    "transformer-xl": {"segment_len": 6, "mem_len": 9},
    "transformer-xl, zeros, same length, clamped": {
        "segment_len": 6,
        "mem_len": 9,
        "memory_init": "zeros",
        "same_length": True,
        "clamp_len": 5,
    },
    "transformer-xl, pre-LN, own u and v": {"segment_len": 7, "mem_len": 3, "pre_norm": True, "untie_uv": True},
    "transformer-xl, adaptive": {"segment_len": 5, "mem_len": 5, "cutoffs": (20, 100), "div_value": 2.0},
    "transformer-xl, projected": {
        "segment_len": 5,
        "mem_len": 5,
        "cutoffs": (20, 100),
        "div_value": 2.0,
        "projected": {"d_embed": 16, "tied": (False, True, False)},
    },
    "transformer-xl, no memory": {"segment_len": 8, "mem_len": 0},
    "transformer-xl, segment of one": {"segment_len": 1, "mem_len": 6},
    "transformer-xl, memory by layer": {
        "segment_len": 6,
        "mem_len": {"long": 13, "short": 2, "layers": "last-1"},
        "attention_range": (4, -1),
    },
    "transformer-xl, Admin": {"segment_len": 6, "mem_len": 9, "num_layers": 3, "admin": True},
    "compressive": {"segment_len": 6, "mem_len": 6, "cmem_len": 5, "compression_rate": 2},
    "compressive, zeros, remainder": {
        "segment_len": 7,
        "mem_len": 10,
        "cmem_len": 5,
        "compression_rate": 3,
        "memory_init": "zeros",
        "pre_norm": True,
    },
    "compressive, mean": {"segment_len": 5, "mem_len": 7, "cmem_len": 4, "compression_rate": 3, "compression": "mean"},
    "compressive, max": {"segment_len": 4, "mem_len": 5, "cmem_len": 1, "compression_rate": 2, "compression": "max"},
    "compressive, most-used": {
        "segment_len": 6,
        "mem_len": 8,
        "cmem_len": 6,
        "compression_rate": 2,
        "compression": "most-used",
    },
    "compressive, dilated, by layer": {
        "segment_len": 6,
        "mem_len": (7, 9),
        "cmem_len": (0, 4),
        "compression_rate": 3,
        "compression": "dilated-conv",
        "compression_loss": "auto-encoding",
    },
    "compressive, segment of one": {"segment_len": 1, "mem_len": 3, "cmem_len": 3, "compression_rate": 1},
    "sha-rnn": {"segment_len": 6, "mem_len": 9},
    "sha-rnn, attention in all layers": {"segment_len": 5, "mem_len": 3, "num_layers": 3, "attention_layers": "all"},
    "transformer": {"segment_len": 11},
    "transformer, pre-LN": {"segment_len": 11, "pre_norm": True},
    "lstm": {"segment_len": 11, "num_layers": 2},
    "wavenet": {"segment_len": 11},
    "wavenet, wide kernels": {"segment_len": 5, "kernel_size": 3, "initial_kernel": 3},
    "adaptive-span": {"segment_len": 9, "max_span": 20},
    "adaptive-span, fresh segments": {"segment_len": 9, "carry": False},
    "light-conv": {"segment_len": 5},
    "light-conv, dynamic": {"segment_len": 7, "dynamic": True, "kernel_size": (1, 9)},
    "light-conv, fresh segments": {"segment_len": 11, "carry": False},
    "longformer-lm": {"segment_len": 7},
    "longformer-lm, fresh segments": {"segment_len": 11, "carry": False},
    "longformer-lm, no dilation": {"segment_len": 5, "window": 6, "dilated_heads": 0},
    "longformer-lm, all heads dilated": {"segment_len": 9, "window": (1, 3), "dilation": (2, 3), "dilated_heads": 2},
    "bigbird-lm": {},
    "bigbird-lm, no random blocks": {"segment_len": 10, "num_random_blocks": 0},
    "sparse-transformer": {"segment_len": 23},
    "sparse-transformer, strided": {"segment_len": 23, "pattern": "strided", "stride": 5},
    "linear-transformer": {"segment_len": 11},
    "linear-transformer, carried": {"segment_len": 11, "carry": True},
    "performer": {"segment_len": 11},
    "performer, carried": {"segment_len": 7, "carry": True, "num_features": 5},
    "reformer": {},
    "reformer, many chunks": {"segment_len": 31, "mem_len": 29, "chunk_len": 2},
    "reformer, no memory": {"segment_len": 29, "mem_len": 0, "num_hashes": 1, "chunk_len": 3},
    "reformer, full attention": {"segment_len": 11, "num_buckets": 1, "chunk_len": 27},
    "titans-lmm": {"segment_len": 7},
    "titans-lmm, deep, two heads": {"memory": {"depth": 4, "num_heads": 2, "chunk_len": 5, "expansion": 1.0}},
    "titans-lmm, linear, exact": {"memory": {"depth": 1, "chunk_len": 1}, "num_persistent": 0},
    "titans-lmm, gates of chunks": {"segment_len": 7, "memory": {"gates": "chunk", "chunk_len": 5}},
    "titans-mac": {"segment_len": 10},
    "titans-mac, chunks across segments": {"segment_len": 6, "memory": {"chunk_len": 4}, "memory_layers": (2,)},
    "titans-mag": {"segment_len": 9},
    "titans-mag, no persistent vectors": {"num_persistent": 0, "memory_layers": (1,)},
    "titans-mal": {"segment_len": 9, "window": 5},
    "feedback": {"segment_len": 7},
    "feedback, long memory, three layers": {"segment_len": 5, "mem_len": 31, "num_layers": 3},
    "wavenet, conditioned": {"segment_len": 7, "initial_kernel": 1, "num_conditions": 3},
}


def make(label: str, **more):
    """A tiny model in float64 whose weights are large and biases non-zero, so that every term shows."""
    torch.manual_seed(0)
    model = build_model(f"{label.partition(',')[0]}/tiny", bind("pytorch"), **MODELS[label], **more).double().eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, 0, 0.2)
    return model


def tokens(length=60, batch=2):
    return torch.randint(0, 256, (batch, length), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("label", MODELS)
def test_state_law(label):
    model = make(label)
    results = check_state_law(model, tokens(max(60, 3 * model.config.turnover + 1)))
    assert len(results) >= 8
    assert all(result.passed for result in results), results


@pytest.mark.parametrize("label", MODELS)
def test_causality(label):
    """A changed token changes nothing before it, to the bit."""
    model, first = make(label), tokens(40, 1)
    with torch.no_grad():
        before = model(first).hidden
        for position in (0, 1, 13, 38, 39):
            other = first.clone()
            other[0, position] = (other[0, position] + 1) % 256
            after = model(other).hidden
            assert torch.equal(after[:, :position], before[:, :position])
            assert not torch.equal(after[:, position], before[:, position])


def test_the_check_finds_a_model_that_breaks_the_law(monkeypatch):
    model = make("transformer-xl")
    monkeypatch.setattr(type(model), "band", lambda self, layer, num_keys: Band(num_keys - 1 - num_keys % 2))
    assert not all(result.passed for result in check_state_law(model, tokens()))


STATEFUL = [
    "transformer-xl",
    "compressive",
    "compressive, most-used",
    "sha-rnn",
    "lstm",
    "wavenet",
    "longformer-lm",
    "adaptive-span",
    "reformer",
    "titans-lmm",
    "titans-mac",
    "titans-mal",
    "feedback",
]


@pytest.mark.parametrize("rows", [torch.tensor([2, 0]), torch.tensor([True, False, True])], ids=["index", "mask"])
@pytest.mark.parametrize("label", STATEFUL)
@torch.no_grad()
def test_rows_of_a_state_go_their_own_way(label, rows):
    model, ids = make(label), tokens(56, 3)
    state = model(ids[:, :50]).state
    picked = model(ids[rows, 50:], state.select(rows)).hidden
    cached = model.generation_state(model.generation_state(state)).select(rows)
    torch.testing.assert_close(picked, model(ids[:, 50:], state).hidden[rows])
    torch.testing.assert_close(model(ids[rows, 50:], cached).hidden, picked)


@pytest.mark.parametrize(
    "label",
    [
        "transformer-xl",
        "compressive, most-used",
        "sha-rnn",
        "wavenet",
        "longformer-lm",
        "adaptive-span",
        "light-conv",
        "reformer",
        "titans-mac",
        "feedback",
    ],
)
def test_state_survives_saving(label):
    model, ids = make(label), tokens(26)
    state = model(ids[:, :20]).state
    again = model.init_state(2).restore(state.tensors())
    assert again.position == 20
    assert torch.equal(model(ids[:, 20:], again).hidden, model(ids[:, 20:], state).hidden)


@pytest.mark.parametrize("label", MODELS)
def test_a_renewed_row_begins_anew_and_the_others_go_on(label):
    """What it then says, and the gradient of that, is as from an empty memory, over as long as any memory reaches."""
    model = make(label)
    period = model.config.period
    reach = max(model.config.turnover, 2 * model.config.segment_len)
    before, after = tokens(-(-reach // period) * period, 3), tokens(reach + 5, 3).flip(1)
    rows = torch.tensor([False, True, False])
    state = model(before).state.detach()
    renewed = model.renew(state, rows)
    for name, tensor in renewed.select(~rows).tensors().items():
        assert torch.equal(tensor, state.select(~rows).tensors()[name])
    alone, went_on = model(after[rows]).hidden, model(after, state).hidden
    for first in (renewed, model.generation_state(renewed)):
        hidden = model(after, first).hidden
        torch.testing.assert_close(hidden[rows], alone, rtol=0, atol=1e-9)
        torch.testing.assert_close(hidden[~rows], went_on[~rows], rtol=0, atol=1e-9)
    told = [hidden.square().sum() for hidden in (model(after, renewed).hidden[rows], alone)]
    for found, wanted in zip(*(gradients(model, loss) for loss in told), strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-7, atol=1e-9)


def gradients(model, loss):
    found = torch.autograd.grad(loss, [*model.parameters()], allow_unused=True)
    return [torch.zeros(()) if gradient is None else gradient for gradient in found]


def test_every_causal_model_is_here():
    assert {label.partition(",")[0] for label in MODELS} == set(CAUSAL_MODELS)

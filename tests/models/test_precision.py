"""Models under autocast to bfloat16: what stays float32, and that a sequence may still be cut anywhere."""

import pytest
import torch

from seqmem.layers.logistics import LogisticMixture
from seqmem.models import build_model
from seqmem.ops import bind
from seqmem.testing.state_law import splits

MODELS: dict[str, dict] = {
    "transformer-xl": {},
    "transformer-xl, pre-LN, dropout": {"pre_norm": True, "dropout": 0.1, "attention_dropout": 0.1},
    "transformer-xl, adaptive": {"cutoffs": (20, 100), "div_value": 2.0},
    "transformer-xl, projected": {"cutoffs": (20, 100), "projected": {"d_embed": 16, "tied": (False, True, True)}},
    "transformer-xl, levels": {"head": "logistic-mixture"},
    "compressive": {},
    "compressive, most-used": {"compression": "most-used"},
    "compressive, auto-encoding": {"compression": "dilated-conv", "compression_loss": "auto-encoding"},
    "sha-rnn": {},
    "transformer": {},
    "lstm": {},
    "feedback": {},
    "feedback, dropout": {"dropout": 0.1},
    "wavenet": {},
    "wavenet, levels": {"head": "logistic-mixture"},
}
BFLOAT16 = torch.finfo(torch.bfloat16).eps


def make(label: str, **more):
    torch.manual_seed(0)
    return build_model(f"{label.partition(',')[0]}/tiny", bind("pytorch"), **MODELS[label], **more)


def tokens(length: int):
    return torch.randint(0, 256, (2, length), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("label", MODELS)
def test_losses_and_gradients_are_float32(label):
    model = make(label)
    inputs, state = tokens(model.config.unroll_len), model.init_state(2)
    for _ in range(3):
        with torch.autocast("cpu", torch.bfloat16):
            out = model(inputs, state)
            nll = model.head.nll(out.hidden, inputs)
        state = out.state.detach()
        assert {value.dtype for value in (nll, *out.losses.values())} == {torch.float32}
        loss = nll.mean() + sum(out.losses.values())
        gradients = torch.autograd.grad(loss, [*model.parameters()], allow_unused=True)
        assert {gradient.dtype for gradient in gradients if gradient is not None} == {torch.float32}


@pytest.mark.parametrize("label", MODELS)
@torch.no_grad()
def test_the_likelihood_is_that_of_float32_but_for_roundings(label):
    model = make(label).eval()
    ids = tokens(2 * model.config.segment_len)
    full = model.head.nll(model(ids).hidden, ids)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(model.head.nll(model(ids).hidden, ids), full, rtol=0.02, atol=0.05)


@pytest.mark.parametrize("label", [label for label in MODELS if "dropout" not in label])
@torch.no_grad()
@torch.autocast("cpu", torch.bfloat16)
def test_whole_is_chunked_but_for_roundings(label):
    model = make(label, segment_len=6).eval()
    ids = tokens(20)
    whole = model(ids).hidden.float()
    for name, lengths in splits(ids.shape[1], 6):
        state, hidden = model.init_state(2), []
        for piece in ids.split(lengths, 1):
            out = model(piece, state)
            state = out.state
            hidden.append(out.hidden.float())
        difference = (torch.cat(hidden, 1) - whole).abs().max() / whole.abs().max()
        assert difference < 8 * BFLOAT16, name


@pytest.mark.parametrize("label", ["transformer-xl", "transformer-xl, pre-LN, dropout", "compressive"])
def test_memory_is_the_residual_stream_in_float32(label):
    model = make(label)
    with torch.autocast("cpu", torch.bfloat16):
        state = model(tokens(2 * model.config.segment_len)).state
    assert {memory.dtype for memory in state.past} == {torch.float32}
    assert not torch.equal(state.past[-1], state.past[-1].bfloat16().float())


def test_a_mixture_of_logistics_is_as_precise_as_without_autocast():
    head = LogisticMixture(65536, 16, 10)
    head.reset_parameters(0.2)
    hidden, targets = torch.randn(3, 5, 16), torch.randint(65536, (3, 5))
    full = head.nll(hidden, targets)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(head.nll(hidden, targets), full)

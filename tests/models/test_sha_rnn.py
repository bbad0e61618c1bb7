"""SHA-RNN against the equations of its author's code, written as loops over tokens, slots and gates."""

import math

import pytest
import torch
from safetensors.torch import load, save

from seqmem.errors import SeqmemError
from seqmem.models import build_model
from seqmem.models.sha_rnn import SHARNN
from seqmem.ops import bind

TINY = {"vocab_size": 30, "num_layers": 3, "d_model": 8, "d_inner": 24, "segment_len": 4, "mem_len": 6}


def make(**overrides) -> SHARNN:
    """Tiny, in float64, with weights large enough that attention is far from uniform."""
    torch.manual_seed(0)
    model = build_model("sha-rnn/tiny", bind("pytorch"), **(TINY | overrides)).double().eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, 0, 0.7)
    return model


def tokens(length=19, batch=2):
    return torch.randint(0, 30, (batch, length), generator=torch.Generator().manual_seed(2))


def by_loops(model: SHARNN, ids: torch.Tensor, drop=lambda x: x) -> torch.Tensor:
    """One sequence ``[T]``, token by token; a segment's slots join the memory when the next segment begins."""
    c = model.config
    lstm = [(torch.zeros(c.d_model).double(), torch.zeros(c.d_model).double())] * c.num_layers
    memory, segment = [[[] for _ in model.blocks] for _ in range(2)]
    outputs = []
    for position, token in enumerate(ids):
        if position % c.segment_len == 0:
            joined = [old + new for old, new in zip(memory, segment, strict=True)]
            memory = [slots[max(0, len(slots) - c.mem_len) :] for slots in joined]
            segment = [[] for _ in model.blocks]
        x = drop(model.head.weight[token])
        for layer, block in enumerate(model.blocks):
            x, lstm[layer] = lstm_by_loops(block.lstm, norm(block.lstm_norm, x), *lstm[layer])
            x = drop(x)
            if block.attention is not None:
                segment[layer].append(norm(block.attention.memory_norm, x))
                x = attention_by_loops(block.attention, x, memory[layer] + segment[layer], drop)
            boomed = drop(boom_by_loops(block.boom, norm(block.boom_norm, x), drop))
            x = norm(block.residual_norm, x) + boomed
        outputs.append(drop(x))
    return torch.stack(outputs)


def norm(layer, x):
    centred = x - x.mean()
    return centred / centred.square().mean().sqrt() * layer.weight + layer.bias


def lstm_by_loops(lstm, x, hidden, cell):
    gates = lstm.weight_ih_l0 @ x + lstm.bias_ih_l0 + lstm.weight_hh_l0 @ hidden + lstm.bias_hh_l0
    enter, forget, new, out = gates.view(4, -1)
    cell = forget.sigmoid() * cell + enter.sigmoid() * new.tanh()
    hidden = out.sigmoid() * cell.tanh()
    return hidden, (hidden, cell)


def attention_by_loops(attention, x, slots, drop):
    d = len(x)
    x = norm(attention.input_norm, x)
    q = norm(attention.query_norm, attention.query.weight @ x + attention.query.bias)
    q = drop(q * attention.query_gate.sigmoid())
    wide = attention.overparameters.weight @ attention.value_gate.sigmoid() + attention.overparameters.bias
    values = wide[:d].tanh() * wide[d:].sigmoid()
    scores = torch.stack([q @ (slot * attention.key_gate.sigmoid()) / math.sqrt(d) for slot in slots])
    return x + drop(sum(p * drop(slot * values) for p, slot in zip(scores.softmax(0), slots, strict=True)))


def boom_by_loops(boom, x, drop):
    inner = boom.linear.weight @ x + boom.linear.bias
    inner = drop(inner / (1 + (-1.702 * inner).exp()))
    return sum(inner[start : start + len(x)] for start in range(0, len(inner), len(x)))


@pytest.mark.parametrize(
    "overrides",
    [
        {},
        {"attention_layers": "all"},
        {"attention_layers": "all", "num_layers": 1, "d_inner": 8},
        {"mem_len": 0},
        {"mem_len": 2},
        {"segment_len": 1, "mem_len": 3},
        {"segment_len": 7, "mem_len": 30},
    ],
    ids=str,
)
@torch.no_grad()
def test_equals_the_equations_by_loops(overrides):
    model, ids = make(**overrides), tokens()
    hidden = model(ids).hidden
    for row in range(2):
        torch.testing.assert_close(hidden[row], by_loops(model, ids[row]), rtol=1e-9, atol=1e-9)


def test_memory_of_one_layer_or_of_all():
    lone, every = make(), make(attention_layers="all")
    assert [layer.shape[1] for layer in lone(tokens(10)).state.past] == [0, 6 + 2, 0]
    assert [layer.shape[1] for layer in every(tokens(10)).state.past] == [6 + 2] * 3
    assert lone.config.memory_note == "6 tokens of memory and LSTM states"


def test_memory_as_long_as_the_past_is_one_segment():
    segmented, whole = make(mem_len=40), make(segment_len=40, mem_len=0)
    whole.load_state_dict(segmented.state_dict())
    torch.testing.assert_close(segmented(tokens(33)).hidden, whole(tokens(33)).hidden)


def test_gradient_stops_at_the_segment_border():
    model = make(attention_layers="all")
    vectors = []
    embed = model.head.embed
    model.head.embed = lambda tokens: vectors.append(embed(tokens).detach().requires_grad_()) or vectors[-1]
    out = model(tokens(8))
    out.hidden[:, -1].sum().backward()
    assert not vectors[0].grad.any()
    assert vectors[1].grad.abs().sum((0, 2)).min() > 0
    assert not any(tensor.requires_grad for tensor in out.state.tensors().values())


def test_every_weight_is_used():
    model = make()
    model.head.nll(model(tokens()).hidden, tokens()).sum().backward()
    assert all(parameter.grad.any() for parameter in model.parameters())


def test_dropout_acts_in_training_only_and_follows_the_seed():
    model, ids = make(dropout=0.2), tokens(12)
    assert torch.equal(model(ids).hidden, make()(ids).hidden)
    model.train()
    torch.manual_seed(5)
    first = model(ids).hidden
    second = model(ids).hidden
    torch.manual_seed(5)
    assert not torch.equal(first, second)
    assert torch.equal(model(ids).hidden, first)


@torch.no_grad()
def test_dropout_falls_where_it_is_published(monkeypatch):
    """A mask that all tokens share, so that loops can apply it too, in dropout's place."""

    def mask(x):
        return x * torch.linspace(0, 2, x.shape[-1], dtype=x.dtype)

    monkeypatch.setattr(torch.nn.Dropout, "forward", lambda self, x: mask(x))
    model, ids = make(), tokens(batch=1)
    torch.testing.assert_close(model(ids).hidden[0], by_loops(model, ids[0], mask), rtol=1e-9, atol=1e-9)


@torch.no_grad()
def test_dropout_falls_on_probabilities(monkeypatch):
    model, ids = make(dropout=0.2).train(), tokens()
    monkeypatch.setattr(torch.nn.Dropout, "forward", lambda self, x: x)
    assert not torch.equal(model(ids).hidden, model(ids).hidden)


def test_with_lengths_shares_weights():
    model = make()
    longer = model.with_lengths(mem_len=20, segment_len=3)
    assert longer.blocks[0].lstm.weight_hh_l0.data_ptr() == model.blocks[0].lstm.weight_hh_l0.data_ptr()
    assert longer(tokens(9)).state.past[1].shape[1] == 20
    fresh = make(mem_len=20, segment_len=3)
    assert torch.equal(longer(tokens()).hidden, fresh(tokens()).hidden)


def test_state_survives_choosing_rows_and_saving():
    model, ids = make(), tokens(19, 3)
    state = model(ids[:, :10]).state
    rows = torch.tensor([2, 0])
    again = model.init_state(2).restore(load(save(state.select(rows).tensors())))
    assert again.position == 10
    torch.testing.assert_close(model(ids[rows, 10:], again).hidden, model(ids).hidden[rows, 10:])


def test_published_initialisation():
    torch.manual_seed(0)
    model = build_model("sha-rnn/small", bind("pytorch"))
    std = 0.1 / math.sqrt(304)
    for name, parameter in model.named_parameters():
        if "lstm." in name:
            assert parameter.abs().max() <= 1 / math.sqrt(304), name
        elif "norm.weight" in name:
            assert (parameter == 1).all(), name
        elif name.endswith(("bias", "gate")):
            assert not parameter.any(), name
        else:
            assert parameter.std().item() == pytest.approx(std, rel=0.02), name


@pytest.mark.parametrize(("attention_layers", "millions"), [("second-last", 53.8), ("all", 63.2)])
def test_published_size(attention_layers, millions):
    """The README's 63M have a head in every layer."""
    with torch.device("meta"):
        model = build_model("sha-rnn/enwik8", bind("pytorch"), attention_layers=attention_layers)
    assert sum(parameter.numel() for parameter in model.parameters()) / 1e6 == pytest.approx(millions, abs=0.1)


def test_small_is_as_large_as_the_small_transformer_xl():
    with torch.device("meta"):
        sizes = [build_model(f"{name}/small", bind("pytorch")).parameters() for name in ("sha-rnn", "transformer-xl")]
    ours, reference = (sum(parameter.numel() for parameter in parameters) for parameters in sizes)
    assert ours == pytest.approx(reference, rel=0.01)


def test_bad_configurations_say_why():
    with pytest.raises(SeqmemError, match="d_inner = 20 is no multiple of d_model = 8"):
        make(d_inner=20)
    with pytest.raises(SeqmemError, match="a single layer has no second-last; set attention_layers = 'all'"):
        make(num_layers=1)
    with pytest.raises(SeqmemError, match="'attention_layers' = 'last'"):
        make(attention_layers="last")
    with pytest.raises(SeqmemError, match="did you mean 'enwik8'"):
        build_model("sha-rnn/enwik", bind("pytorch"))

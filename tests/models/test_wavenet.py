"""WaveNet: against a float64 oracle of loops, its receptive field to the token, generation by queues."""

import math

import pytest
import torch
from torch import Tensor

from seqmem.errors import SeqmemError
from seqmem.generate.sampling import Sampler
from seqmem.layers.gate import GatedActivation
from seqmem.models import build_model, model_config
from seqmem.models.token_loop import SteppedLoop
from seqmem.models.wavenet import WaveNet
from seqmem.models.wavenet_loop import QueuedTokenLoop
from seqmem.ops import bind, dispatch, registry

MODELS = {
    "kernel 2": {},
    "kernel 3": {"kernel_size": 3, "initial_kernel": 3},
    "uneven": {
        "num_layers": 3,
        "num_stacks": 1,
        "residual_channels": 5,
        "gate_channels": 7,
        "skip_channels": 3,
        "initial_kernel": 1,
        "vocab_size": 9,
    },
    "conditioned": {"num_conditions": 4, "num_layers": 4},
    "logistics": {"head": "logistic-mixture", "vocab_size": 1 << 16, "num_logistics": 3},
    "bytes": {"vocab_size": 20, "num_phases": 2, "num_layers": 4},
}


def make(label: str, **more) -> WaveNet:
    """A tiny model in float64 with large weights and non-zero biases."""
    torch.manual_seed(0)
    model = build_model("wavenet/tiny", bind("pytorch"), **MODELS[label], **more).double().eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, 0, 0.3)
    return model


def draw(model: WaveNet, length: int, batch: int = 2) -> Tensor:
    """Tokens in their phases."""
    c = model.config
    count = c.vocab_size // c.num_phases
    ids = torch.randint(0, count, (batch, length), generator=torch.Generator().manual_seed(1))
    return ids + torch.arange(length) % c.num_phases * count


def begin(model: WaveNet, batch: int = 2):
    classes = torch.arange(batch) % model.config.num_conditions if model.config.num_conditions else None
    return model.init_state(batch, classes)


def oracle(model: WaveNet, tokens: list[int], condition: int) -> list[list[float]]:
    """Hidden states of one stream: every convolution as a loop over its taps, every channel on its own."""
    c = model.config
    weights = {name: parameter.tolist() for name, parameter in model.state_dict().items()}

    def affine(name: str, x: list[float]) -> list[float]:
        rows = zip(weights[f"{name}.weight"], weights[f"{name}.bias"], strict=True)
        return [bias + sum(w * value for w, value in zip(row, x, strict=True)) for row, bias in rows]

    def embedded(time: int) -> list[float]:
        total = list(weights["first.bias"])
        for tap, table in enumerate(weights["first.weight"]):
            seen = time - (c.initial_kernel - 1 - tap)
            token = tokens[seen] if seen >= 0 else c.vocab_size // 2
            value = 2 * token / (c.vocab_size - 1) - 1
            row = table[token] if c.head == "softmax" else [value * w for w in table[0]]
            total = [a + b for a, b in zip(total, row, strict=True)]
        return total

    xs = [embedded(time) for time in range(len(tokens))]
    gated: list[list[float]] = [[] for _ in tokens]
    for layer, dilation in enumerate(c.dilations):
        kernel, bias = weights[f"layers.{layer}.weight"], list(weights[f"layers.{layer}.bias"])
        if c.num_conditions:
            start = layer * 2 * c.gate_channels
            bias = [b + weights["conditions.weight"][condition][start + i] for i, b in enumerate(bias)]
        outs = []
        for time in range(len(tokens)):
            sums = list(bias)
            for out in range(2 * c.gate_channels):
                for channel in range(c.residual_channels):
                    for tap in range(c.kernel_size):
                        seen = time - (c.kernel_size - 1 - tap) * dilation
                        sums[out] += kernel[out][channel][tap] * (xs[seen][channel] if seen >= 0 else 0.0)
            z = [math.tanh(sums[i]) / (1 + math.exp(-sums[c.gate_channels + i])) for i in range(c.gate_channels)]
            gated[time] += z
            if layer < c.num_layers - 1:
                outs.append([a + b for a, b in zip(xs[time], affine(f"layers.{layer}.out", z), strict=True)])
        xs = outs
    hidden = []
    for z in gated:
        skip = [max(0.0, value) for value in affine("skips", z)]
        hidden.append([max(0.0, value) for value in affine("hidden", skip)])
    return hidden


@pytest.mark.parametrize("label", MODELS)
@torch.no_grad()
def test_forward_is_the_loops(label):
    model = make(label)
    ids = draw(model, 20, 1)
    condition = 2 if model.config.num_conditions else 0
    state = model.init_state(1, torch.tensor([2])) if condition else None
    expected = torch.tensor(oracle(model, ids[0].tolist(), condition), dtype=torch.float64)
    assert expected.count_nonzero() >= 20
    torch.testing.assert_close(model(ids, state).hidden[0], expected)


@pytest.mark.parametrize("label", MODELS)
@torch.no_grad()
def test_an_impulse_touches_exactly_its_receptive_field(label):
    """With wide layers, as a ReLU of the head hides what a few channels do."""
    model = make(label, **({} if label == "uneven" else {"skip_channels": 64}))
    reach, time = model.config.receptive_field, 5
    ids = draw(model, time + reach + 9, 1)
    other = ids.clone()
    other[0, time] = ids[0, time] + (1 if ids[0, time] % 2 == 0 else -1)
    skips: list[Tensor] = []
    model.skips.register_forward_hook(lambda _, inputs, output: skips.append(output))
    model(ids)
    model(other)
    touched = (skips[0] != skips[1]).any(-1)[0]
    assert touched.nonzero().flatten().tolist() == list(range(time, time + reach))
    assert model.config.turnover == reach


def test_published_sizes():
    small, ibab = model_config("wavenet/small"), model_config("wavenet/ibab")
    assert small.dilations == tuple(2**i for i in range(10)) * 2
    assert (ibab.receptive_field, ibab.num_layers, ibab.skip_channels) == (5117, 50, 512)
    with torch.device("meta"):
        assert build_model("wavenet/paper-40m", bind("pytorch")).num_parameters == pytest.approx(40e6, rel=0.02)


@pytest.mark.parametrize("label", MODELS)
@torch.no_grad()
def test_queues_are_the_forward_pass(label):
    """Teacher-forced in blocks, from the middle of a sequence, for three receptive fields."""
    model = make(label)
    start, length = 11, 3 * model.config.receptive_field
    ids = draw(model, start + length + 1)
    before = model(ids[:, :start], begin(model)).state
    kept = before.map(Tensor.clone)
    loop = model.token_loop(before, Sampler())
    assert isinstance(loop, QueuedTokenLoop)
    stepped = SteppedLoop(model, before, Sampler())
    token, log_probs = ids[:, start], []
    for block in ids[:, start + 1 :].split([1, 2, length - 3], 1):
        tokens, found = loop(token, block.shape[1], forced=block)
        assert torch.equal(tokens, block)
        assert found.dtype == torch.float64
        torch.testing.assert_close(stepped(token, block.shape[1], forced=block)[1], found)
        token = block[:, -1]
        log_probs.append(found)
    after = model(ids[:, start:-1], before)
    if model.config.num_phases == 1:
        expected = -model.head.nll(after.hidden, ids[:, start + 1 :])
        torch.testing.assert_close(torch.cat(log_probs, 1), expected)
    for ours, theirs in ((loop.state, after.state), (before, kept)):
        assert ours.position == theirs.position
        torch.testing.assert_close(ours.tensors(), theirs.tensors())


@pytest.mark.parametrize("label", MODELS)
def test_a_seed_gives_the_same_tokens_in_loops_and_steps_whatever_the_blocks(label):
    model = make(label)
    token = draw(model, 1, 3)[:, 0]

    def drawn(make_loop, blocks):
        sampler = Sampler(temperature=0.9, top_p=0.9, generator=torch.Generator().manual_seed(7))
        loop, last, found = make_loop(begin(model, 3), sampler), token, []
        for length in blocks:
            tokens, _ = loop(last, length)
            last = tokens[:, -1]
            found.append(tokens)
        return torch.cat(found, 1)

    whole = drawn(model.token_loop, [30])
    assert len(whole.unique()) > 5
    assert torch.equal(drawn(model.token_loop, [1, 13, 16]), whole)
    assert torch.equal(drawn(lambda state, sampler: SteppedLoop(model, state, sampler), [30]), whole)


@torch.no_grad()
def test_queues_in_float32_stay_with_the_forward_pass_for_thousands_of_steps():
    model = make("kernel 2").float()
    ids = draw(model, 2501)
    _, log_probs = model.token_loop(begin(model), Sampler())(ids[:, 0], 2500, forced=ids[:, 1:])
    expected = -model.head.nll(model(ids[:, :-1]).hidden, ids[:, 1:])
    torch.testing.assert_close(log_probs, expected, rtol=0, atol=1e-4)


@torch.no_grad()
def test_conditions_are_each_stream_s_own():
    model = make("conditioned")
    ids = draw(model, 25, 1).expand(4, -1)
    together = model(ids, model.init_state(4, torch.tensor([0, 1, 2, 1]))).hidden
    assert torch.equal(together[1], together[3])
    assert not torch.allclose(together[0], together[1])
    torch.testing.assert_close(model(ids[:1]).hidden, together[:1])
    state = model(ids[:, :9], model.init_state(4, torch.tensor([0, 1, 2, 1]))).state
    torch.testing.assert_close(model(ids[2:3, 9:], state.select(torch.tensor([2]))).hidden, together[2:3, 9:])


@pytest.mark.parametrize(
    ("label", "classes"), [("conditioned", [4, 0]), ("conditioned", [-1, 0]), ("kernel 2", [0, 0])]
)
def test_a_class_that_is_not_there_is_refused(label, classes):
    with pytest.raises(SeqmemError, match=r"condition.*classes"):
        make(label).init_state(2, torch.tensor(classes))


def test_every_parameter_learns():
    for label in MODELS:
        model = make(label)
        ids = draw(model, 40)
        out = model(ids[:, :-1], begin(model))
        model.head.nll(out.hidden, ids[:, 1:]).mean().backward()
        missing = [name for name, p in model.named_parameters() if p.numel() and not p.grad.abs().sum() > 0]
        assert not missing, label


def test_the_gated_activation_is_tanh_times_sigmoid():
    gates = torch.linspace(-30, 30, 64, dtype=torch.float64).view(2, 4, 8).mT.contiguous().requires_grad_()
    filters, openings = gates.chunk(2, -1)
    torch.testing.assert_close(GatedActivation.apply(gates), filters.tanh() * openings.sigmoid())
    assert torch.autograd.gradcheck(GatedActivation.apply, gates)


def test_the_start_is_glorot_uniform_with_zero_biases():
    model = build_model("wavenet/small", bind("pytorch"))
    bounds = {
        model.first.weight: 6 / (2 * 256 + 32),
        model.layers[3].weight[:32]: 6 / (2 * 32 + 2 * 32),
        model.layers[3].weight[32:]: 6 / (2 * 32 + 2 * 32),
        model.layers[3].out.weight: 6 / (32 + 32),
        model.skips.weight[:, 32:64]: 6 / (32 + 128),
    }
    for weight, square in bounds.items():
        assert weight.abs().max().item() == pytest.approx(square**0.5, rel=0.05)
    assert all(not p.any() for name, p in model.named_parameters() if name.endswith("bias"))


def test_layers_that_do_not_fill_stacks_are_refused():
    with pytest.raises(SeqmemError, match="num_layers = 7 is not a multiple of num_stacks = 2"):
        model_config("wavenet/tiny", num_layers=7)


@pytest.fixture
def not_offered(monkeypatch):
    """The pytorch backend without ``compile_loop``."""
    monkeypatch.delattr(type(registry.backend("pytorch")), "compile_loop")
    dispatch.decide.cache_clear()
    yield
    dispatch.decide.cache_clear()


def test_a_backend_without_loops_takes_steps(not_offered):
    model = make("kernel 2")
    assert isinstance(model.token_loop(begin(model), Sampler()), SteppedLoop)
    assert "compile_loop" in model.ops.describe().partition("defaults: ")[2]

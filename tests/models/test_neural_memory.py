"""Titans' memory against the recurrence token by token, its special cases, its gradients and its guards."""

from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F

from seqmem.errors import SeqmemError
from seqmem.layers.fast_weights import FastWeights, read_and_write
from seqmem.layers.memory_gates import Gates
from seqmem.layers.memory_network import read
from seqmem.layers.neural_memory import MemoryConfig, NeuralMemory
from seqmem.layers.step_bound import BOUND, crowding
from seqmem.models import build_model
from seqmem.ops import bind

OPS = bind("pytorch")
BATCH, HEADS, LENGTH, WIDTH = 2, 2, 23, 5
NETWORKS = {"linear": (5, 5), "two layers": (5, 7, 5), "three": (5, 7, 6, 5), "four": (5, 7, 6, 7, 5)}


def network(widths, heads=HEADS):
    return tuple(torch.randn(BATCH, heads, i, o).double() / i**0.5 for i, o in pairwise(widths))


def operands(width=WIDTH, heads=HEADS, length=LENGTH):
    """Queries, keys, values and gates, which take every value from 0 to 1."""
    q, k, v = (torch.randn(BATCH, heads, length, width).double() / 2 for _ in range(3))
    decay, momentum, step = (torch.rand(BATCH, heads, length).double() for _ in range(3))
    decay[..., 1], momentum[..., 2], step[..., 4], decay[..., 5] = 0, 0, 0, 1
    return q, k, v, Gates(decay, momentum, step / 5)


def token_by_token(weights, q, k, v, gates, chunk_len):
    """Equations 12 to 16 as they stand, gradients by autograd."""
    weights, outs = list(weights), []
    momentum = [torch.zeros_like(weight) for weight in weights]
    for t in range(q.shape[2]):
        if t % chunk_len == 0:
            base = [weight.detach().requires_grad_() for weight in weights]
        error = (read(base, k[:, :, t : t + 1]) - v[:, :, t : t + 1]).square().sum((2, 3), keepdim=True)
        decay, carry, step = (gate[:, :, t, None, None] for gate in (gates.decay, gates.momentum, gates.step))
        slopes = torch.autograd.grad(error.sum(), base)
        if len(base) > 1:  # a step changes the error by its direction times kappa
            kappa = sum(slope.square().sum((2, 3), keepdim=True) for slope in slopes) / (4 * error.detach())
            step = step / kappa.clamp(min=1)
        momentum = [carry * old - step * slope for old, slope in zip(momentum, slopes, strict=True)]
        weights = [(1 - decay) * old + speed for old, speed in zip(weights, momentum, strict=True)]
        outs.append(read(weights, q[:, :, t : t + 1]))
    return torch.cat(outs, 2), weights, momentum


def test_first_weights_have_the_scale_asked_for():
    torch.manual_seed(0)
    memory = NeuralMemory(64, MemoryConfig(init_scale=0.1), OPS)
    memory.reset_parameters()
    for weight in memory.initial_weights:
        assert weight.std().item() == pytest.approx(0.1 * weight.shape[1] ** -0.5, rel=0.05)


@pytest.mark.parametrize("chunk_len", [1, 4, 64])
@pytest.mark.parametrize("name", NETWORKS)
def test_chunks_against_the_recurrence(name, chunk_len):
    torch.manual_seed(0)
    weights, (q, k, v, gates) = network(NETWORKS[name]), operands()
    expected, expected_weights, expected_momentum = token_by_token(weights, q, k, v, gates, chunk_len)
    out, memory = read_and_write(OPS, FastWeights.fresh(weights), q, k, v, gates, chunk_len)
    torch.testing.assert_close(out, expected, rtol=0, atol=1e-13)
    torch.testing.assert_close(list(memory.weights), expected_weights, rtol=0, atol=1e-13)
    torch.testing.assert_close(list(memory.momentum), expected_momentum, rtol=0, atol=1e-13)
    assert memory.position == LENGTH % chunk_len


@pytest.mark.parametrize("lengths", [(1,) * 23, (3, 5, 4, 11), (22, 1), (8, 8, 7)])
def test_carried_state_equals_one_pass(lengths):
    torch.manual_seed(0)
    weights, (q, k, v, gates) = network(NETWORKS["two layers"]), operands()
    whole, after = read_and_write(OPS, FastWeights.fresh(weights), q, k, v, gates, 4)
    memory, outs, start = FastWeights.fresh(weights), [], 0
    for length in lengths:
        tokens = slice(start, start := start + length)
        parts = (part[:, :, tokens] for part in (q, k, v))
        out, memory = read_and_write(OPS, memory, *parts, gates[tokens], 4)
        outs.append(out)
    torch.testing.assert_close(torch.cat(outs, 2), whole, rtol=0, atol=1e-13)
    torch.testing.assert_close(memory.weights + memory.base, after.weights + after.base, rtol=0, atol=1e-13)


@pytest.mark.parametrize("name", NETWORKS)
def test_outer_gradients_by_finite_differences(name):
    """Of every operand, across chunks, through a call that begins inside one, and of the memory that is left."""
    torch.manual_seed(0)
    q, k, v, gates = operands(heads=1, length=7)
    leaves = (q, k, v, gates.decay, gates.momentum, gates.step, *network(NETWORKS[name], heads=1))

    def function(q, k, v, decay, momentum, step, *weights):
        gates, first, rest = Gates(decay, momentum, step), slice(0, 2), slice(2, None)
        memory = FastWeights.fresh(weights)
        seen, memory = read_and_write(OPS, memory, q[:, :, first], k[:, :, first], v[:, :, first], gates[first], 3)
        more, memory = read_and_write(OPS, memory, q[:, :, rest], k[:, :, rest], v[:, :, rest], gates[rest], 3)
        return seen, more, *memory.weights, *memory.momentum

    assert torch.autograd.gradcheck(function, [leaf.requires_grad_() for leaf in leaves], fast_mode=True)


def test_deltanet():
    """A linear memory from 0 without momentum and forgetting, exact: ``S += beta (v - S k) k'`` for beta = 2 theta."""
    torch.manual_seed(0)
    q, k, v, gates = operands()
    k, zero, beta = F.normalize(k, dim=-1), torch.zeros_like(gates.step), torch.rand_like(gates.step)
    fresh = FastWeights.fresh((torch.zeros(BATCH, HEADS, WIDTH, WIDTH).double(),))
    out, _ = read_and_write(OPS, fresh, q, k, v, Gates(zero, zero, beta / 2), 1)
    state = torch.zeros(BATCH, HEADS, WIDTH, WIDTH).double()
    for t in range(LENGTH):
        error = v[:, :, t] - (state @ k[:, :, t, :, None])[..., 0]
        state = state + beta[:, :, t, None, None] * error[..., None] * k[:, :, t, None]
        torch.testing.assert_close(out[:, :, t], (state @ q[:, :, t, :, None])[..., 0], rtol=0, atol=1e-13)


def test_gated_deltanet():
    """``S = a S (1 - b k k') + b v k'``, which decays what its gradient sees: theta = a b / 2, values v / a."""
    torch.manual_seed(0)
    q, k, v, gates = operands()
    k, zero = F.normalize(k, dim=-1), torch.zeros_like(gates.step)
    a, b = 0.5 + torch.rand_like(zero) / 2, torch.rand_like(zero)
    fresh = FastWeights.fresh((torch.zeros(BATCH, HEADS, WIDTH, WIDTH).double(),))
    out, _ = read_and_write(OPS, fresh, q, k, v / a[..., None], Gates(1 - a, zero, a * b / 2), 1)
    state = torch.zeros(BATCH, HEADS, WIDTH, WIDTH).double()
    for t in range(LENGTH):
        key, at = k[:, :, t], (slice(None), slice(None), t, None, None)
        erased = torch.eye(WIDTH).double() - b[at] * key[..., None] * key[..., None, :]
        state = a[at] * state @ erased + b[at] * v[:, :, t, :, None] * key[..., None, :]
        torch.testing.assert_close(out[:, :, t], (state @ q[:, :, t, :, None])[..., 0], rtol=0, atol=1e-13)


@pytest.mark.parametrize("model", ["titans-lmm", "titans-mac", "titans-mag", "titans-mal"])
def test_every_weight_learns(model):
    """From the first call on, the network's first weights and the persistent vectors included."""
    torch.manual_seed(0)
    built = build_model(f"{model}/tiny", OPS)
    ids = torch.randint(0, 256, (2, 41))
    built.head.nll(built(ids[:, :-1]).hidden, ids[:, 1:]).mean().backward()
    silent = [name for name, weight in built.named_parameters() if weight.grad is None or not weight.grad.any()]
    assert silent == []


def test_learning_within_a_sequence():
    """A memory that meets the same keys again gives back their values."""
    torch.manual_seed(0)
    k = F.normalize(torch.randn(1, 1, 16, 32), dim=-1)
    v = torch.randn(1, 1, 16, 32) / 32**0.5
    weights = tuple(torch.randn(1, 1, i, o) / i**0.5 for i, o in ((32, 128), (128, 32)))
    again, ones = torch.cat([k] * 60, 2), torch.ones(1, 1, 960)
    gates = Gates(0 * ones, 0 * ones, 0.1 * ones)
    out, memory = read_and_write(OPS, FastWeights.fresh(weights), again, again, torch.cat([v] * 60, 2), gates, 16)
    assert (read(memory.weights, k) - v).norm() < 0.05 * (read(weights, k) - v).norm()
    assert (out[:, :, -16:] - v).norm() < 0.05 * (out[:, :, :16] - v).norm()


def test_memory_is_float32_under_autocast():
    torch.manual_seed(0)
    memory = NeuralMemory(16, MemoryConfig(chunk_len=4), OPS)
    memory.reset_parameters()
    with torch.autocast("cpu", torch.bfloat16):
        out, state = memory(torch.randn(2, 9, 16), memory.init_state(2))
    assert {weight.dtype for weight in state.fast.weights + state.fast.momentum} == {torch.float32}
    assert out.dtype == torch.bfloat16


def test_a_memory_that_runs_away_is_named():
    torch.manual_seed(0)
    model = build_model("titans-mag/tiny", OPS, memory={"max_step": 1e6, "chunk_len": 4}, memory_layers=(2,))
    with pytest.raises(SeqmemError, match=r"layer 2 after token 600: its memory .* lower model\.memory\.max_step"):
        model(torch.randint(0, 256, (1, 600)))


@pytest.mark.parametrize("tokens", ["one token for ever", "random"])
def test_a_long_stream_stays_bounded(tokens):
    torch.manual_seed(0)
    model = build_model("titans-lmm/tiny", OPS).eval()
    ids = (
        torch.zeros(1, 2000, dtype=torch.int64) if tokens == "one token for ever" else torch.randint(0, 256, (1, 2000))
    )
    state = model.init_state(1)
    with torch.no_grad():
        norms = [state := model(ids, state).state for _ in range(3)]
    sizes = [max(weight.norm().item() for layer in state.layers for weight in layer.fast.weights) for state in norms]
    assert sizes[-1] < 1.5 * sizes[0]


def fresh_crowding(keys, chunk_len):
    return crowding(keys, keys[:, :, :0], keys[:, :, :0, 0], chunk_len)


def common_keys(common, length, width=128):
    """Keys with as much in common: their cosines."""
    own, shared = (F.normalize(torch.randn(8, 1, n, width).double(), dim=-1) for n in (length, 1))
    return F.normalize(common**0.5 * shared + (1 - common) ** 0.5 * own, dim=-1)


@pytest.mark.parametrize("length", [64, 200])
@pytest.mark.parametrize("common", [0.0, 0.05, 0.1, 0.3, 0.8, 1.0])
def test_steps_of_a_chunk_do_not_overshoot(common, length):
    """Whatever keys have in common; those that are too crowded to be counted make less than a thousandth."""
    torch.manual_seed(0)
    keys = common_keys(common, length)
    steps = (keys / fresh_crowding(keys, length)[..., None]).mT @ keys
    assert torch.linalg.eigvalsh(steps).max() < BOUND + 1e-3 < 1 / MemoryConfig().max_step


def test_crowding_against_its_definition():
    """Key after key, in chunks, and carried on inside of one; new keys are not crowded."""
    torch.manual_seed(0)
    keys = common_keys(0.2, 11, 6)
    expected = []
    for t, key in enumerate(keys.unbind(2)):
        taken = torch.zeros(8, 1, 6, 6).double() if t % 4 == 0 else taken
        inverse = torch.linalg.inv(torch.eye(6) - taken / BOUND)
        expected.append(torch.einsum("bhi,bhij,bhj->bh", key, inverse, key))
        taken = taken + key[..., None] * key[..., None, :] / expected[-1][..., None, None]
    whole = fresh_crowding(keys, 4)
    torch.testing.assert_close(whole, torch.stack(expected, 2), rtol=1e-12, atol=0)
    more = crowding(keys[:, :, 6:], keys[:, :, 4:6], whole[:, :, 4:6], 4)
    torch.testing.assert_close(more, whole[:, :, 6:], rtol=1e-12, atol=0)
    assert torch.equal(fresh_crowding(torch.eye(8)[None, None], 8), torch.ones(1, 1, 8))


def test_a_key_that_is_0_is_no_harm():
    torch.manual_seed(0)
    memory = NeuralMemory(8, MemoryConfig(chunk_len=4), OPS).double()
    memory.reset_parameters()
    x = torch.randn(2, 11, 8).double()
    x[:, 1:7] = 0
    x.requires_grad_()
    out, state = memory(x, memory.init_state(2))
    out.square().sum().backward()
    assert memory.problem(state) is None
    assert x.grad.isfinite().all()


def test_gradients_of_crowding():
    torch.manual_seed(0)
    keys, before = common_keys(0.3, 11, 4)[:2].requires_grad_(), common_keys(0.3, 2, 4)[:2].requires_grad_()
    assert torch.autograd.gradcheck(lambda k, b: crowding(k, b, fresh_crowding(b, 5), 5), (keys, before))


def test_gates_of_a_chunk_are_its_first_tokens():
    torch.manual_seed(0)
    each = NeuralMemory(16, MemoryConfig(chunk_len=4), OPS)
    held = NeuralMemory(16, MemoryConfig(chunk_len=4, gates="chunk"), OPS)
    held.load_state_dict(each.state_dict())
    x, fresh = torch.randn(2, 11, 16), each.init_state(2)
    of_tokens, of_chunks = each._opened(x, fresh), held._opened(x, fresh)
    assert torch.equal(of_chunks, of_tokens[..., [0, 0, 0, 0, 4, 4, 4, 4, 8, 8, 8]])

"""Titans' layers against loops that read and write token by token, gradients of the memory's loss by autograd."""

import pytest
import torch
import torch.nn.functional as F

from seqmem.layers.positions import sinusoid
from seqmem.layers.step_bound import BOUND
from seqmem.models import build_model
from seqmem.ops import bind

BATCH, LENGTH = 2, 21
SIZES = dict(
    vocab_size=7,
    num_layers=1,
    d_model=12,
    d_inner=8,
    num_heads=2,
    head_dim=5,
    num_persistent=3,
    segment_len=8,
    memory=dict(num_heads=2, depth=2, expansion=1.5, chunk_len=4),
)


def mixer(name, **settings):
    """A layer in float64 none of whose weights is special."""
    torch.manual_seed(0)
    built = build_model(name, bind("pytorch"), **SIZES | settings).double().blocks[0].mixer
    for parameter in built.parameters():
        torch.nn.init.normal_(parameter, 0.2, 0.4)
    return built


class MemoryByTokens:
    """Equations 8 to 15 one token after the other, gradients at the weights of the chunk's start (equation 16)."""

    def __init__(self, memory):
        self.memory, self.tokens = memory, []
        self.weights = [weight.expand(BATCH, *weight.shape) for weight in memory.initial_weights]
        self.momentum = [torch.zeros_like(weight) for weight in self.weights]
        self.begin_chunk()

    def begin_chunk(self):
        self.base, self.length = [weight.detach().requires_grad_() for weight in self.weights], 0
        self.taken = torch.zeros_like(self.base[0][..., :1] * self.base[0][..., :1].mT)

    def write(self, x):
        """Take in a token ``[B, d]``; what is read with its own query."""
        c = self.memory.config
        if self.length == c.chunk_len:
            self.begin_chunk()
        self.tokens.append(x)
        q, k, v = convolved(self.memory.qkv, self.tokens).unflatten(-1, (3, *self.memory.heads)).unbind(1)
        k, v = F.normalize(k, dim=-1), v / v.shape[-1] ** 0.5
        decay, momentum, step = self.memory.gates(x).sigmoid().unflatten(-1, (3, -1))[..., None, None].unbind(1)
        crowded = torch.einsum("bhi,bhij,bhj->bh", k, torch.linalg.inv(torch.eye(k.shape[-1]) - self.taken / BOUND), k)
        self.taken = self.taken + k[..., None] * k[..., None, :] / crowded[..., None, None]
        self.length += 1
        step = c.max_step * (1 - momentum) * step / crowded[..., None, None]
        decay = c.min_decay + (1 - c.min_decay) * decay
        error = (network(self.base, k) - v).square().sum(-1)[..., None, None]
        slopes = torch.autograd.grad(error.sum(), self.base, create_graph=True)
        kappa = sum(slope.square().sum((2, 3), keepdim=True) for slope in slopes) / (4 * error)
        step = step / kappa.clamp(min=1)
        self.momentum = [momentum * s - step * slope for s, slope in zip(self.momentum, slopes, strict=True)]
        self.weights = [(1 - decay) * w + s for w, s in zip(self.weights, self.momentum, strict=True)]
        return self.read(q, self.weights, x)

    def read(self, q, weights, x):
        seen = network(weights, F.normalize(q, dim=-1))
        return self.memory.out(self.memory.norm(seen).flatten(1) * self.memory.gate(x))


def network(weights, x):
    for number, weight in enumerate(weights):
        x = torch.einsum("bhi,bhio->bho", F.silu(x) if number else x, weight)
    return x


def convolved(projection, tokens):
    """The last token's projection: a tap for each token, the last for the last."""
    taps = projection.taps[:, 0].flip(1).unbind(1)
    return F.silu(sum(tap * projection.linear(x) for tap, x in zip(taps, reversed(tokens), strict=False)))


def attended(attention, x, placed, persistent):
    """What ``x [B, d]`` gets of vectors at distances ``[(vector, distance)]`` and of those that have none."""
    vectors = torch.stack([vector for vector, _ in placed] + persistent, 1)
    keys, values = attention.cached(vectors).unbind(2)
    q = attention.qkv(x)[:, : attention.width].unflatten(-1, attention.heads)
    distances = torch.tensor([float(distance) for _, distance in placed]).double()
    r = attention.positions(sinusoid(distances, x.shape[1]).double()).unflatten(-1, attention.heads)
    scores = torch.einsum("bhd,bshd->bsh", q + attention.u, keys)
    scores[:, : len(placed)] += torch.einsum("bhd,shd->bsh", q + attention.v, r)
    weights = (scores / attention.heads[1] ** 0.5).softmax(1)
    return attention.out(torch.einsum("bsh,bshd->bhd", weights, values).flatten(1))


def inputs():
    return torch.randn(BATCH, LENGTH, SIZES["d_model"]).double()


def persistent_of(layer):
    return [vector.expand(BATCH, -1) for vector in layer.persistent]


def check(layer, x, expected):
    out, _ = layer(x, layer.init_state(BATCH))
    torch.testing.assert_close(out, torch.stack(expected, 1), rtol=0, atol=1e-12)


def test_memory_as_context():
    """Section 4.1, causal: token t sees its segment, history vectors up to its own, and reads after its own step."""
    layer, x = mixer("titans-mac"), inputs()
    attention, memory = layer.window.attention, MemoryByTokens(layer.memory)
    expected = []
    for t in range(LENGTH):
        if t % SIZES["segment_len"] == 0:
            start, seen = memory.weights, []
        q = convolved(layer.query, list(x[:, : t + 1].unbind(1))).unflatten(-1, layer.memory.heads)
        seen += [(memory.read(q, start, x[:, t]), t), (x[:, t], t)]
        placed = [(vector, t - place) for vector, place in seen]
        a = layer.attended_norm(attended(attention, x[:, t], placed, persistent_of(layer)))
        y = x[:, t] + a
        m = memory.write(y)
        expected.append(a + layer.gate.norm(m) * layer.gate.gate_norm(y).sigmoid())
    check(layer, x, expected)


@pytest.mark.parametrize("name", ["titans-mag", "titans-mal"])
def test_memory_with_a_window(name):
    """Sections 4.2 and 4.3: the memory's first tokens are the persistent vectors."""
    layer, x = mixer(name, window=6), inputs()
    memory = MemoryByTokens(layer.memory)
    first = [memory.write(vector) for vector in persistent_of(layer)]
    memory.begin_chunk()
    renewed = [memory.write(token) for token in x.unbind(1)]
    tokens, persistent = (x.unbind(1), persistent_of(layer)) if name == "titans-mag" else (renewed, first)
    expected = []
    for t in range(LENGTH):
        placed = [(tokens[s], t - s) for s in range(max(0, t - 5), t + 1)]
        out = attended(layer.window.attention, tokens[t], placed, persistent)
        if name == "titans-mag":
            out = layer.gate.norm(out) * F.silu(layer.gate.gate_norm(renewed[t]))
        expected.append(out)
    check(layer, x, expected)

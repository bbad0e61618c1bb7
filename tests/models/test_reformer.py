"""Hashed attention against its definition, token by token; reversible layers against the plain sum."""

import pytest
import torch
from torch.profiler import profile

from seqmem.errors import SeqmemError
from seqmem.layers.lsh import buckets_of
from seqmem.layers.lsh_attention import LSHAttention
from seqmem.models import build_model, model_config, reformer
from seqmem.ops import bind

OPS = bind("pytorch")
HEADS, WIDTH = 2, 5
SHAPES = {  # rounds, buckets, tokens of a chunk
    "one round": (1, 4, 3),
    "three rounds": (3, 4, 4),
    "more buckets than tokens": (2, 60, 2),
    "chunks of one": (2, 2, 1),
    "one bucket": (2, 1, 5),
    "one chunk": (2, 2, 64),
}


def make(num_hashes=2, num_buckets=4, chunk_len=4):
    torch.manual_seed(0)
    attention = LSHAttention(HEADS * WIDTH, HEADS, num_hashes, num_buckets, chunk_len, 0.0, OPS).double()
    for parameter in attention.parameters():
        torch.nn.init.normal_(parameter, 0, 0.5)
    attention.draw()
    return attention


def nothing(batch):
    return torch.zeros(batch, 0, HEADS * WIDTH).double()


def seen_in_a_round(buckets, chunk_len):
    """For each token those before it in its bucket that are in its chunk or the one before, counted in the bucket."""
    chunks = [buckets[:t].count(bucket) // chunk_len for t, bucket in enumerate(buckets)]
    return [
        {j for j in range(t) if buckets[j] == buckets[t] and chunks[t] - chunks[j] <= 1} for t in range(len(buckets))
    ]


def seen_by_one_head(attention, qk, v, rotations):
    """Attention of a head ``[S, D]``, every token by itself."""
    rounds = []
    for rotation in rotations:
        turned = qk @ rotation
        buckets = torch.cat([turned, -turned], 1)[:, : attention.num_buckets].argmax(1).tolist()
        rounds.append(seen_in_a_round(buckets, attention.chunk_len))
    rows = []
    for t, found in enumerate(zip(*rounds, strict=True)):
        keys = sorted(set().union(*found)) or [t]
        k = qk[keys] / qk[keys].norm(dim=1, keepdim=True)
        rows.append((k @ qk[t]).softmax(0) @ v[keys])
    return torch.stack(rows)


def by_definition(attention, x):
    """Every text and head by itself."""
    qk, v = (layer(x).unflatten(-1, (HEADS, WIDTH)) for layer in (attention.qk, attention.v))
    texts = [
        [seen_by_one_head(attention, qk[b, :, h], v[b, :, h], attention.rotations[h]) for h in range(HEADS)]
        for b in range(len(x))
    ]
    return attention.out(torch.stack([torch.cat(heads, 1) for heads in texts]))


@pytest.fixture(params=["_through_all", "_through_chunks"])
def way(request, monkeypatch):
    """Whichever way is cheaper, attention takes this one."""
    chosen = getattr(LSHAttention, request.param)
    monkeypatch.setattr(LSHAttention, "_through_all", chosen)
    monkeypatch.setattr(LSHAttention, "_through_chunks", chosen)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("shape", SHAPES)
def test_attention_and_its_gradients_are_as_defined(shape):
    attention = make(*SHAPES[shape])
    x = torch.randn(2, 23, HEADS * WIDTH).double().requires_grad_()
    leaves = [x, *attention.parameters()]
    out, wanted = attention(x, nothing(2))[0], by_definition(attention, x)
    torch.testing.assert_close(out, wanted, rtol=0, atol=1e-10)
    grad = torch.randn_like(out)
    ours, theirs = (torch.autograd.grad(y, leaves, grad) for y in (out, wanted))
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-9)


@pytest.mark.usefixtures("way")
def test_one_bucket_in_one_chunk_is_full_attention_with_shared_queries_and_keys():
    attention = make(2, 1, 40)
    x = torch.randn(2, 31, HEADS * WIDTH).double()
    q, v = (layer(x).unflatten(-1, (HEADS, WIDTH)) for layer in (attention.qk, attention.v))
    scores = torch.einsum("bthd,bshd->bhts", q, q / q.norm(dim=-1, keepdim=True))
    only_self = torch.eye(31, dtype=torch.bool)
    only_self[0] = False
    hidden = torch.ones(31, 31, dtype=torch.bool).triu(1) | only_self
    probs = scores.masked_fill(hidden, -torch.inf).softmax(-1)
    wanted = attention.out(torch.einsum("bhts,bshd->bthd", probs, v).flatten(2))
    torch.testing.assert_close(attention(x, nothing(2))[0], wanted, rtol=0, atol=1e-10)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("num_past", [1, 9, 22])
def test_past_inputs_and_what_they_were_seen_as_give_what_the_whole_gives(num_past):
    attention = make(3, 4, 2)
    x = torch.randn(2, 23, HEADS * WIDTH).double()
    whole = attention(x, nothing(2))[0][:, num_past:]
    past, present = x[:, :num_past], x[:, num_past:]
    for earlier in (past, attention.hashed(past)[1]):
        torch.testing.assert_close(attention(present, earlier)[0], whole, rtol=0, atol=1e-10)


@pytest.mark.usefixtures("way")
def test_later_tokens_change_nothing_to_the_bit():
    attention = make(3, 6, 2)
    x = torch.randn(1, 40, HEADS * WIDTH).double()
    before = attention(x, nothing(1))[0]
    for position in range(40):
        other = x.clone()
        other[:, position:] = torch.randn_like(other[:, position:])
        assert torch.equal(attention(other, nothing(1))[0][:, :position], before[:, :position])


def test_cost_grows_with_length_where_buckets_do(monkeypatch):
    scores = []
    attend = type(OPS).attend

    def counted(self, q, k, *operands, **options):
        scores[-1] += q.shape[0] * q.shape[1] * k.shape[1]
        return attend(self, q, k, *operands, **options)

    monkeypatch.setattr(type(OPS), "attend", counted)
    for length in (256, 1024):
        scores.append(0)
        make(2, length // 8, 8)(torch.randn(1, length, HEADS * WIDTH).double(), nothing(1))
    assert scores[1] <= 4 * scores[0]
    assert scores[1] < 1024**2 * HEADS / 8


def test_hashing_depends_on_direction_alone_and_brings_like_vectors_together():
    torch.manual_seed(0)
    x = torch.randn(1, 400, 1, 16).double()
    rotations = torch.randn(1, 8, 16, 4).double()
    buckets = buckets_of(x, rotations, 8)
    assert torch.equal(buckets_of(7 * x, rotations, 8), buckets)
    assert torch.equal(buckets_of(-x, rotations, 8), (buckets + 4) % 8)
    assert buckets.unique().tolist() == list(range(8))

    def share(angle):
        turned = angle.cos() * x + angle.sin() * x.norm(dim=-1, keepdim=True) * torch.eye(16).double()[0]
        return (buckets_of(turned, rotations, 8) == buckets).double().mean()

    shares = [share(torch.tensor(angle)) for angle in (0.1, 0.4, 1.5)]
    assert shares == sorted(shares, reverse=True)
    assert shares[0] > 0.8
    assert shares[2] < 0.4


def tiny(**overrides):
    torch.manual_seed(0)
    return build_model("reformer/tiny", OPS, **overrides).double()


def plain(branches, x):
    """The sum that layers reverse, kept by autograd."""
    a = b = x
    for branch in branches:
        a, b = b, a + branch.function(b)
    return a, b


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_gradients_are_those_without_reversing(dropout, monkeypatch):
    model = tiny(num_layers=3, dropout=dropout, attention_dropout=dropout).train()
    ids = torch.randint(0, 256, (2, 33))
    grads = []
    for function in (reformer.reversible, plain):
        monkeypatch.setattr(reformer, "reversible", function)
        torch.manual_seed(1)
        nll = model.head.nll(model(ids[:, :-1]).hidden, ids[:, 1:]).sum()
        grads.append(torch.autograd.grad(nll, [*model.parameters()]))
    torch.testing.assert_close(*grads, rtol=1e-9, atol=1e-9)


def test_activations_do_not_grow_with_depth(monkeypatch):
    """A layer more adds its buckets and the state of the random numbers, not its activations."""

    def kept(num_layers):
        model = tiny(num_layers=num_layers, mem_len=0, segment_len=256).float()
        ids = torch.randint(0, 256, (4, 256))
        with profile(profile_memory=True, acc_events=True) as profiler:
            out = model(ids)
        assert out.hidden.requires_grad
        return sum(event.self_cpu_memory_usage for event in profiler.key_averages())

    reversible_growth = kept(10) - kept(2)
    monkeypatch.setattr(reformer, "reversible", plain)
    plain_growth = kept(10) - kept(2)
    buckets = 4 * 256 * 2 * 2 * 2  # texts, tokens, heads, rounds, bytes
    random = 2 * torch.get_rng_state().nbytes
    assert reversible_growth <= 8 * 1.1 * (buckets + random)
    assert plain_growth > 50 * reversible_growth


def test_autocast_trains_as_float32_does_but_for_roundings():
    model = tiny(num_layers=3, num_buckets=1).float().eval()
    ids = torch.randint(0, 256, (2, 33))

    def trained():
        nll = model.head.nll(model(ids[:, :-1]).hidden, ids[:, 1:]).mean()
        return nll, torch.autograd.grad(nll, [*model.parameters()])

    wanted_nll, wanted = trained()
    with torch.autocast("cpu", torch.bfloat16):
        nll, grads = trained()
    assert nll.dtype == torch.float32
    torch.testing.assert_close(nll, wanted_nll, rtol=0.01, atol=0)
    for grad, other in zip(grads, wanted, strict=True):
        assert grad.dtype == torch.float32
        assert (grad - other).norm() < 0.05 * other.norm()


def test_rotations_are_new_in_every_call_of_training_and_kept_afterwards():
    model = tiny().train()
    ids = torch.randint(0, 256, (1, 16))
    rotations = model.blocks[0].attention.rotations
    before = rotations.clone()
    model(ids)
    assert not torch.equal(rotations, before)
    model.eval()
    again = tiny()
    again.load_state_dict(model.state_dict())
    with torch.no_grad():
        assert torch.equal(model(ids).hidden, again.eval()(ids).hidden)


def test_memory_is_seen_and_its_length_is_kept():
    model = tiny(segment_len=8, mem_len=12).eval()
    ids = torch.randint(0, 256, (1, 37))
    with torch.no_grad():
        state = model(ids[:, :32]).state
        assert {past.shape[1] for past in state.past} == {12}
        assert {past.shape[1] for past in model(ids[:, 32:], state).state.past} == {12 + 5}
        fresh = model(ids[:, 32:], model.init_state(1)).hidden
        assert not torch.allclose(model(ids[:, 32:], state).hidden, fresh)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"num_buckets": 7}, "num_buckets = 7 is odd; .* give an even number or 1"),
        ({"num_heads": 5}, "d_model = 32 is not a multiple of num_heads = 5"),
        ({"num_buckets": 2**15}, "num_buckets"),
    ],
)
def test_impossible_settings_are_refused(overrides, message):
    with pytest.raises(SeqmemError, match=message):
        model_config("reformer/tiny", **overrides)

"""The Compressive Transformer against its definition: what is compressed when, by what, and who learns from it."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from seqmem.errors import SeqmemError
from seqmem.layers.compression import attention_reconstruction_loss
from seqmem.models import build_model
from seqmem.ops import bind

TINY = {"segment_len": 4, "mem_len": 6, "num_layers": 2, "d_model": 8}
TINY |= {"num_heads": 2, "head_dim": 4, "d_inner": 12, "vocab_size": 30}
COMPRESSED = {"cmem_len": 5, "compression_rate": 2}
LEARNED = [
    {"compression": "conv"},
    {"compression": "conv", "compression_loss": "auto-encoding"},
    {"compression": "dilated-conv"},
    {"compression": "dilated-conv", "compression_loss": "auto-encoding"},
]


def make(name="compressive", **overrides):
    torch.manual_seed(0)
    config = TINY if name == "transformer-xl" else TINY | COMPRESSED
    model = build_model(f"{name}/tiny", bind("pytorch"), **(config | overrides)).double().eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, 0, 0.3)
    return model


def tokens(length: int, batch: int = 2) -> Tensor:
    return torch.randint(0, 30, (batch, length), generator=torch.Generator().manual_seed(3))


def twin_of(model, **overrides):
    """A Transformer-XL with a compressive model's weights."""
    twin = make("transformer-xl", **overrides)
    twin.load_state_dict(model.state_dict(), strict=False)
    return twin


@pytest.mark.parametrize("memory_init", ["empty", "zeros"])
@pytest.mark.parametrize("mem_len", [0, 3, 6])
@torch.no_grad()
def test_without_compressed_memory_it_is_transformer_xl_to_the_bit(mem_len, memory_init):
    model = make(cmem_len=0, mem_len=mem_len, memory_init=memory_init)
    twin = twin_of(model, mem_len=mem_len, memory_init=memory_init)
    ids = tokens(43)
    assert torch.equal(model(ids).hidden, twin(ids).hidden)


@pytest.mark.parametrize("memory_init", ["empty", "zeros"])
@torch.no_grad()
def test_means_of_one_are_a_longer_memory(memory_init):
    model = make(compression="mean", compression_rate=1, mem_len=7, cmem_len=6, memory_init=memory_init)
    twin = twin_of(model, mem_len=13, memory_init=memory_init)
    ids = tokens(70)
    torch.testing.assert_close(model(ids).hidden, twin(ids).hidden, rtol=1e-11, atol=1e-11)


def by_hand(compression: str, slots: Tensor, rate: int, usage: Tensor | None) -> Tensor:
    groups = [slots[:, start : start + rate] for start in range(0, slots.shape[1] - rate + 1, rate)]
    if compression == "mean":
        return torch.stack([sum(group[:, i] for i in range(rate)) / rate for group in groups], 1)
    if compression == "max":
        return torch.stack([group.max(1).values for group in groups], 1)
    assert usage is not None
    rows = []
    for row, used in zip(slots, usage, strict=True):
        best = sorted(sorted(range(len(used)), key=lambda i: -used[i])[: len(groups)])
        rows.append(row[best])
    return torch.stack(rows)


@pytest.mark.parametrize("compression", ["mean", "max", "most-used"])
@pytest.mark.parametrize(("segment_len", "rate"), [(4, 2), (5, 2), (7, 3)])
@torch.no_grad()
def test_memories_hold_the_evicted_inputs_compressed_in_order(compression, segment_len, rate):
    """After every segment: lengths are full, memory is the last inputs, and compressed memory f of what it lost."""
    lengths = dict(segment_len=segment_len, mem_len=segment_len + 2, cmem_len=7, compression_rate=rate)
    model = make(compression=compression, memory_init="zeros", **lengths)
    state, memory = model.init_state(2), [torch.zeros(2, segment_len + 2, 8).double()] * 2
    compressed = [torch.zeros(2, 7, 8).double()] * 2
    for segment in tokens(10 * segment_len).split(segment_len, 1):
        _, passes = model._through_layers(segment, state)
        state = model(segment, state).state
        for layer, passed in enumerate(passes):
            evicted = memory[layer][:, :segment_len]
            usage = None
            if compression == "most-used":
                usage = passed.usage[:, 7 : 7 + segment_len].mean(-1)
            slots = by_hand(compression, evicted, rate, usage)
            compressed[layer] = torch.cat([compressed[layer], slots], 1)[:, -7:]
            memory[layer] = torch.cat([memory[layer], passed.inputs], 1)[:, segment_len:]
            torch.testing.assert_close(state.past[layer], torch.cat([compressed[layer], memory[layer]], 1))


@pytest.mark.parametrize("overrides", LEARNED, ids=str)
@torch.no_grad()
def test_a_learned_compression_sees_its_slots_in_order(overrides):
    """Convolutions as sums over taps, written out."""
    model = make(segment_len=7, mem_len=7, compression_rate=3, **overrides)
    compression, slots = model.compressions[0], torch.randn(2, 7, 8).double()
    x = slots
    for conv in getattr(compression, "dilated", []):
        (dilation,) = conv.dilation
        padded = torch.nn.functional.pad(x, (0, 0, dilation, dilation))
        taps = [padded[:, tap * dilation : tap * dilation + 7] @ conv.weight[:, :, tap].T for tap in range(3)]
        x = x + (sum(taps) + conv.bias).relu()
    conv = getattr(compression, "last", compression).conv
    weight, bias = conv.weight, conv.bias
    expected = [sum(weight[:, :, tap] @ x[:, 3 * i + tap, :, None] for tap in range(3))[..., 0] + bias for i in (0, 1)]
    torch.testing.assert_close(compression(slots), torch.stack(expected, 1))


@pytest.mark.parametrize("compression", ["conv", "dilated-conv"])
def test_a_learned_compression_starts_close_to_the_mean(compression):
    torch.manual_seed(0)
    model = build_model("compressive/small", bind("pytorch"), compression=compression)
    slots = torch.randn(2, 256, 256)
    means = slots.unflatten(1, (64, 4)).mean(2)
    assert (model.compressions[0](slots) - means).std() < 0.5 * means.std()


@torch.no_grad()
def test_only_slots_made_of_tokens_take_part():
    """Slots of a compressed memory that begins empty fill from the newest, and only by whole groups of tokens."""
    model = make(segment_len=6, mem_len=8, cmem_len=9, compression_rate=4)
    # The first eviction that meets tokens has 4 of them behind 2 empty slots: no group of 4 from the left is whole.
    expected = {0: 0, 6: 0, 12: 0, 18: 1, 24: 2, 30: 3, 36: 4, 72: 9}
    for filled, count in expected.items():
        valid = model.slots_valid(0, torch.tensor([filled, 0]))
        assert valid[0].tolist() == [False] * (9 - count) + [True] * count + [False] * (8 - min(filled, 8)) + [
            True
        ] * min(filled, 8)
        assert not valid[1].any()


@pytest.mark.parametrize("compression", ["conv", "most-used"])
@pytest.mark.parametrize("rate", [1, 2, 3, 4])
@pytest.mark.parametrize(("segment_len", "mem_len"), [(4, 4), (4, 6), (5, 12), (6, 7), (7, 9)])
def test_count_of_compressed_slots_by_simulation(segment_len, mem_len, rate, compression):
    lengths = dict(segment_len=segment_len, mem_len=mem_len, cmem_len=100, compression_rate=rate)
    model = make(compression=compression, **lengths)
    memory, compressed = [False] * mem_len, 0
    for segment in range(12):
        counted = model._num_compressed(0, torch.tensor([segment * segment_len]))
        assert counted.item() == compressed
        evicted, memory = memory[:segment_len], memory[segment_len:] + [True] * min(segment_len, mem_len)
        memory = memory[-mem_len:]
        groups = [evicted[i * rate : (i + 1) * rate] for i in range(segment_len // rate)]
        compressed += min(sum(evicted), len(groups)) if compression == "most-used" else sum(map(all, groups))


@pytest.mark.parametrize("compression", ["mean", "max", "most-used", "conv", "dilated-conv"])
@torch.no_grad()
def test_a_row_that_starts_over_forgets_its_past(compression):
    """Memory is switched off by ``filled``, row by row, whatever stands in its slots."""
    model = make(compression=compression, segment_len=6, mem_len=8, compression_rate=2)
    state = model(tokens(48)).state
    state = replace(state, filled=torch.tensor([0, 48]))
    out, fresh = model(tokens(40), state).hidden, model(tokens(40)).hidden
    torch.testing.assert_close(out[0], fresh[0])
    assert (out[1] - fresh[1]).abs().max() > 0.01


@pytest.mark.parametrize("compression", ["mean", "most-used", "conv"])
@torch.no_grad()
def test_a_token_is_forgotten_when_it_has_left_every_memory(compression):
    """A change reaches nothing before it, what memory makes of it, and nothing after the model's temporal range."""
    model = make(compression=compression)
    c = model.config
    reach = c.num_layers * (c.mem_len + c.compression_rate * c.cmem_len + 2 * c.segment_len)
    ids = tokens(reach + 60, 1)
    other = ids.clone()
    other[0, 21] = (other[0, 21] + 1) % 30
    same = (model(ids).hidden == model(other).hidden).all(-1)[0]
    assert same[:21].all()
    assert not same[21 : 21 + c.mem_len + c.compression_rate * c.cmem_len - c.segment_len].all()
    assert not same[21 + c.mem_len + c.segment_len :].all(), "compressed memory is of no effect"
    assert same[21 + reach :].all()


def gradients(model, loss: Tensor) -> dict[str, bool]:
    """Names of parameters, and whether the loss has any gradient for them."""
    model.zero_grad()
    loss.backward(retain_graph=True)
    return {name: p.grad is not None and bool(p.grad.any()) for name, p in model.named_parameters()}


@pytest.mark.parametrize("overrides", LEARNED, ids=str)
@pytest.mark.parametrize("pre_norm", [False, True])
def test_each_loss_trains_its_own(overrides, pre_norm):
    model = make(pre_norm=pre_norm, **overrides).train()
    flags = {name: parameter.requires_grad for name, parameter in model.named_parameters()}
    state = model(tokens(24)).state
    out = model(tokens(4), state)
    likelihood = model.head.nll(out.hidden, tokens(4)).mean()
    assert {name.split(".")[1] for name in out.losses} == {"0", "1"}
    own = {name for name, _ in model.named_parameters() if name.startswith(("compressions", "decoders"))}
    by_likelihood, by_losses = gradients(model, likelihood), gradients(model, sum(out.losses.values()))
    assert {name for name, has in by_losses.items() if has} == own
    assert not {name for name, has in by_likelihood.items() if has} & own
    assert {name for name, has in by_likelihood.items() if not has} == own
    assert {id(p) for p in model.auxiliary_parameters()} == {id(p) for n, p in model.named_parameters() if n in own}

    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    gradients(model, sum(out.losses.values()))
    torch.optim.SGD(model.parameters(), 0.1).step()
    moved = {name for name, parameter in model.named_parameters() if not torch.equal(parameter, before[name])}
    assert moved == own
    assert {name: parameter.requires_grad for name, parameter in model.named_parameters()} == flags


def test_bptt_teaches_the_compression_through_the_next_segment():
    model = make(compression_loss="bptt", bptt_segments=2).train()
    state = model(tokens(24)).state.detach()
    out = model(tokens(8), state)
    assert out.losses == {}
    assert model.auxiliary_parameters() == []
    first, second = (out.hidden[:, part].square().mean() for part in (slice(0, 4), slice(4, 8)))
    reached = {
        segment: any(has for name, has in gradients(model, loss).items() if name.startswith("compressions"))
        for segment, loss in (("first", first), ("second", second))
    }
    assert reached == {"first": False, "second": True}
    assert all(not past.requires_grad for past in out.state.past)


def test_gradients_reach_through_as_many_segments_as_asked():
    """A call of three segments: gradients stop at its borders that are multiples of ``bptt_segments``."""
    for bptt_segments, expected in {1: [False, False, True], 2: [False, False, True], 3: [True, True, True]}.items():
        model = make(compression="mean", bptt_segments=bptt_segments).train()
        vectors = []
        embed = model.head.embed
        model.head.embed = lambda ids, embed=embed, vectors=vectors: (
            vectors.append(embed(ids).detach().requires_grad_()) or vectors[-1]
        )
        model(tokens(12)).hidden[:, 8:].sum().backward()
        reached = [vector.grad is not None and bool(vector.grad.any()) for vector in vectors]
        assert reached == expected


def test_no_losses_where_nobody_learns():
    model = make()
    assert model(tokens(8)).losses == {}
    model.train()
    with torch.no_grad():
        assert model(tokens(8)).losses == {}
    assert make(compression="mean").train()(tokens(8)).losses == {}


def test_attention_reconstruction_by_loops():
    model = make(pre_norm=True)
    block = model.blocks[0]
    segment, old, new = (torch.randn(1, n, 8).double() for n in (3, 4, 2))
    w_q, w_k, w_v = block.attention.qkv.weight.view(3, 2, 4, 8)

    def read(slots: Tensor) -> Tensor:
        outs = []
        for x in block.attention_norm(segment[0]):
            for h in range(2):
                normed = [block.attention_norm(slot) for slot in slots[0]]
                scores = torch.stack([(w_q[h] @ x) @ (w_k[h] @ slot) / 2 for slot in normed])
                outs.append(sum(p * (w_v[h] @ slot) for p, slot in zip(scores.softmax(0), normed, strict=True)))
        return torch.stack(outs)

    expected = (read(old) - read(new)).square().mean()
    loss = attention_reconstruction_loss(block, segment, (block.keys_values(old), None), (new, None))
    torch.testing.assert_close(loss, expected)


def test_reconstruction_is_perfect_where_nothing_is_lost():
    model = make(compression_rate=1).train()
    with torch.no_grad():
        for compression in model.compressions:
            compression.conv.weight.copy_(torch.eye(8)[..., None])
            compression.conv.bias.zero_()
    state = model(tokens(20)).state
    losses = model(tokens(4), state).losses
    assert max(loss.item() for loss in losses.values()) < 1e-25


@torch.no_grad()
def test_other_memory_sizes_than_in_training():
    model = make()
    larger = model.with_lengths(mem_len=12, cmem_len=(7, 20), segment_len=3)
    assert [past.shape[1] for past in larger(tokens(9)).state.past] == [19, 32]
    assert model.with_lengths(cmem_len=0)(tokens(9)).state.past[0].shape[1] == 6 + 1


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [
        ({"compression": "mean", "compression_loss": "auto-encoding"}, "nothing to learn"),
        ({"compression_loss": "bptt"}, "bptt_segments"),
        ({"mem_len": 3}, "mem_len = 3 is below segment_len = 4"),
        ({"compression_rate": 5}, "above segment_len"),
        ({"compression": "convolution"}, "compression"),
        ({"cmem_len": (1, 2, 3)}, "3 values for 2 layers"),
    ],
)
def test_bad_configurations_say_why(overrides, reason):
    with pytest.raises(SeqmemError, match=reason):
        make(**overrides)


@pytest.mark.parametrize(("size", "millions"), [("enwik8", 352.8), ("wt103", 358.7), ("pg19-36l", 599.4)])
def test_sizes(size, millions):
    """Of which the compressions have 75.5M each; without them enwik8 has the 277M that others count."""
    with torch.device("meta"):
        model = build_model(f"compressive/{size}", bind("pytorch"))
    own = sum(parameter.numel() for parameter in model.auxiliary_parameters()) / 1e6
    assert own == pytest.approx(75.5, rel=0.01)
    assert sum(parameter.numel() for parameter in model.parameters()) / 1e6 == pytest.approx(millions, rel=0.001)

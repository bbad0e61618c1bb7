"""Transformer-XL against the paper's equations, written as loops."""

import math

import pytest
import torch

from seqmem.errors import SeqmemError
from seqmem.models import build_model
from seqmem.models.transformer_xl import TransformerXL
from seqmem.ops import bind

TINY = {"segment_len": 4, "mem_len": 6, "num_layers": 2, "d_model": 8, "num_heads": 2, "head_dim": 4, "d_inner": 12}


def make(**overrides):
    torch.manual_seed(0)
    config = TINY | {"vocab_size": 30} | overrides
    model = build_model("transformer-xl/tiny", bind("pytorch"), **config).double().eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, 0, 0.3)
    return model


def by_loops(model: TransformerXL, ids: torch.Tensor) -> torch.Tensor:
    """One sequence ``[T]`` through the published equations, score by score; memory rolls at segment ends."""
    c = model.config
    half = torch.arange(0, c.d_model, 2).double()

    def encoding(distance: int) -> torch.Tensor:
        distance = min(distance, c.clamp_len) if c.clamp_len >= 0 else distance
        angles = distance / 10000 ** (half / c.d_model)
        return torch.cat([angles.sin(), angles.cos()])

    zeros = [[torch.zeros(c.d_model).double()] * c.mem_len for _ in model.blocks]
    memories = zeros if c.memory_init == "zeros" else [[] for _ in model.blocks]
    hidden = []
    for start in range(0, len(ids), c.segment_len):
        segment = [model.head.weight[i] * math.sqrt(c.d_model) for i in ids[start : start + c.segment_len]]
        for layer, block in enumerate(model.blocks):
            context = memories[layer] + segment
            memories[layer] = context[len(context) - min(len(context), c.mem_len) :]
            segment = layer_by_loops(model, layer, block, context, len(segment), encoding)
        hidden += segment
    return model.final_norm(torch.stack(hidden))


def layer_by_loops(model, layer, block, context, num_queries, encoding):
    c = model.config
    own = layer if c.untie_uv else 0
    normed = [block.attention_norm(x) for x in context] if c.pre_norm else context
    w_q, w_k, w_v = block.attention.qkv.weight.view(3, c.num_heads, c.head_dim, c.d_model)
    w_r = model.position_projections[layer].weight.view(c.num_heads, c.head_dim, c.d_model)
    outputs = []
    for i in range(len(context) - num_queries, len(context)):
        heads = []
        for h in range(c.num_heads):
            q = w_q[h] @ normed[i]
            visible = range(max(0, i - c.mem_len + 1) if c.same_length else 0, i + 1)
            scores = []
            for j in visible:
                k, r = w_k[h] @ normed[j], w_r[h] @ encoding(i - j)
                scores.append((q @ k + q @ r + model.u[own, h] @ k + model.v[own, h] @ r) / math.sqrt(c.head_dim))
            probs = torch.stack(scores).softmax(0)
            heads.append(sum(p * (w_v[h] @ normed[j]) for p, j in zip(probs, visible, strict=True)))
        attended = block.attention.out(torch.cat(heads))
        if c.pre_norm:
            x = context[i] + attended
            outputs.append(x + block.feed_forward(block.feed_forward_norm(x)))
        else:
            x = block.attention_norm(context[i] + attended)
            outputs.append(block.feed_forward_norm(x + block.feed_forward(x)))
    return outputs


@pytest.mark.parametrize(
    "overrides",
    [
        {},
        {"memory_init": "zeros"},
        {"same_length": True, "memory_init": "zeros"},
        {"same_length": True},
        {"clamp_len": 3},
        {"pre_norm": True, "untie_uv": True},
        {"mem_len": 0},
        {"mem_len": 2},
        {"segment_len": 7, "mem_len": 30},
    ],
    ids=str,
)
@torch.no_grad()
def test_equals_the_four_terms_by_loops(overrides):
    model = make(**overrides)
    ids = torch.randint(0, 30, (2, 15), generator=torch.Generator().manual_seed(2))
    hidden = model(ids).hidden
    for row in range(2):
        torch.testing.assert_close(hidden[row], by_loops(model, ids[row]), rtol=1e-10, atol=1e-10)


def test_memory_as_long_as_the_past_is_full_attention():
    segmented, whole = make(mem_len=40), make(segment_len=40, mem_len=0)
    whole.load_state_dict(segmented.state_dict())
    ids = torch.randint(0, 30, (2, 33))
    torch.testing.assert_close(segmented(ids).hidden, whole(ids).hidden)


def test_gradient_stops_at_the_segment_border():
    model = make()
    vectors = []
    embed = model.head.embed
    model.head.embed = lambda tokens: vectors.append(embed(tokens).detach().requires_grad_()) or vectors[-1]
    model(torch.randint(0, 30, (1, 8))).hidden[:, 4:].sum().backward()
    assert not vectors[0].grad.any()
    assert vectors[1].grad.abs().sum() > 0


def test_dropout_acts_in_training_only_and_follows_the_seed():
    model = make(dropout=0.2, attention_dropout=0.2)
    ids = torch.randint(0, 30, (2, 12))
    assert torch.equal(model(ids).hidden, model(ids).hidden)
    model.train()
    torch.manual_seed(5)
    first = model(ids).hidden
    second = model(ids).hidden
    torch.manual_seed(5)
    assert not torch.equal(first, second)
    assert torch.equal(model(ids).hidden, first)


def test_with_lengths_shares_weights_and_keeps_random_numbers():
    model = make()
    before = torch.get_rng_state()
    longer = model.with_lengths(mem_len=20, segment_len=3)
    assert torch.equal(torch.get_rng_state(), before)
    assert longer.head.weight is model.head.weight or longer.head.weight.data_ptr() == model.head.weight.data_ptr()
    assert longer.config.mem_len == 20
    assert longer(torch.randint(0, 30, (1, 9))).state.past[0].shape[1] == 20


def test_published_initialisation():
    torch.manual_seed(0)
    model = build_model("transformer-xl/small", bind("pytorch"))
    for name, parameter in model.named_parameters():
        mean, std = (1, 0.02) if "norm.weight" in name else (0, 0.0 if name.endswith("bias") else 0.02)
        assert abs(parameter.mean().item() - mean) < 0.01, name
        assert abs(parameter.std().item() - std) < 0.005, name


@pytest.mark.parametrize(
    ("size", "millions"), [("enwik8-base", 41), ("enwik8-large", 277), ("wt103-base", 151), ("wt103-large", 283)]
)
def test_published_sizes(size, millions):
    """Published counts, but for wt103-large: the sizes in its script make 283M where the paper's table says 257M."""
    with torch.device("meta"):
        model = build_model(f"transformer-xl/{size}", bind("pytorch"))
    count = sum(parameter.numel() for parameter in model.parameters()) / 1e6
    assert count == pytest.approx(millions, rel=0.03)


def test_bad_configurations_say_why():
    with pytest.raises(SeqmemError, match="same_length with mem_len = 0"):
        make(mem_len=0, same_length=True)
    with pytest.raises(SeqmemError, match="did you mean 'mem_len'"):
        make(memlen=3)
    with pytest.raises(SeqmemError, match="did you mean 'enwik8-base'"):
        build_model("transformer-xl/enwik-base", bind("pytorch"))
    with pytest.raises(SeqmemError, match="did you mean 'transformer-xl'"):
        build_model("transfomer-xl", bind("pytorch"))

"""How attention spreads over memory and segment: whole, in the right place, and as the equations have it."""

import math

import pytest
import torch
from torch import Tensor

from seqmem.layers.positions import sinusoid
from seqmem.models import build_model
from seqmem.ops import bind

TINY = {"vocab_size": 30, "num_layers": 2, "d_model": 8, "num_heads": 2, "head_dim": 4, "d_inner": 12, "segment_len": 4}
PARTS: dict[str, tuple[dict, list[dict[str, int]]]] = {
    "transformer": ({}, [{"segment": 4}] * 2),
    "transformer-xl": ({"mem_len": (9, 2)}, [{"memory": 9, "segment": 4}, {"memory": 2, "segment": 4}]),
    "compressive": (
        {"mem_len": 5, "cmem_len": (3, 0), "compression_rate": 2},
        [{"compressed": 3, "memory": 5, "segment": 4}, {"compressed": 0, "memory": 5, "segment": 4}],
    ),
}


def make(name: str, **overrides):
    torch.manual_seed(0)
    model = build_model(f"{name}/tiny", bind("pytorch"), **TINY, **overrides).double().eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, 0, 0.3)
    return model


def tokens(num_segments: int) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.randint(0, 30, (2, num_segments * TINY["segment_len"]), generator=generator)


@torch.no_grad()
def mass_after(model, num_segments: int) -> list[dict[str, Tensor]]:
    """Of a segment that follows as many others."""
    seen, segment = tokens(num_segments + 1).tensor_split([num_segments * TINY["segment_len"]], 1)
    return model.attention_mass(segment, model(seen).state if num_segments else model.init_state(2))


@pytest.mark.parametrize("num_segments", [0, 1, 3, 8])
@pytest.mark.parametrize("name", PARTS)
def test_mass_of_every_layer_is_one_and_has_a_place_for_each_key(name, num_segments):
    overrides, parts = PARTS[name]
    mass = mass_after(make(name, **overrides), num_segments)
    assert [{part: len(weights) for part, weights in layer.items()} for layer in mass] == parts
    assert [list(layer) for layer in mass] == [list(layer) for layer in parts]
    for layer in mass:
        weights = torch.cat([*layer.values()])
        assert weights.min() >= 0
        assert weights.sum().item() == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize(
    ("num_segments", "memory", "compressed"), [(0, 0, 0), (1, 4, 0), (2, 5, 1), (3, 5, 3), (4, 5, 3)]
)
def test_slots_that_nothing_has_filled_receive_nothing(num_segments, memory, compressed):
    """Of 5 slots of memory and 3 of compressed memory, the newest fill first; two tokens make a compressed slot."""
    (layer, _) = mass_after(make("compressive", mem_len=5, cmem_len=3, compression_rate=2), num_segments)
    assert (layer["memory"] > 0).tolist() == [False] * (5 - memory) + [True] * memory
    assert (layer["compressed"] > 0).tolist() == [False] * (3 - compressed) + [True] * compressed


def test_slots_of_zeros_take_part_from_the_beginning():
    mass = mass_after(make("transformer-xl", mem_len=5, memory_init="zeros"), 0)
    assert all((layer["memory"] > 0).all() for layer in mass)


def test_without_memory_the_first_of_equal_keys_has_most():
    """Where all keys are alike, token i of 4 spreads evenly over i + 1 of them."""
    model = make("transformer")
    for block in model.blocks:
        torch.nn.init.zeros_(block.attention.qkv.weight)
    expected = [sum(1 / (query + 1) for query in range(key, 4)) / 4 for key in range(4)]
    for layer in mass_after(model, 2):
        torch.testing.assert_close(layer["segment"], torch.tensor(expected).double())


@pytest.mark.parametrize(
    ("name", "overrides", "num_filled"),
    [
        ("transformer-xl", {"mem_len": 10, "attention_range": (6, -1)}, 8),
        ("transformer-xl", {"mem_len": 10}, 8),
        ("compressive", {"mem_len": 5, "cmem_len": 3, "compression_rate": 2, "memory_init": "zeros"}, 8),
    ],
    ids=str,
)
@torch.no_grad()
def test_mass_is_the_mean_of_probabilities_by_hand(name, overrides, num_filled):
    """The first layer's probabilities, from its weights and its slots, key by key."""
    model, (seen, segment) = make(name, **overrides), tokens(3).split(8, 1)
    state = model(seen).state
    attention = model.blocks[0].attention
    w_q, w_k, _ = attention.qkv.weight.view(3, 2, 4, 8)
    w_r = model.position_projections[0].weight.view(2, 4, 8)
    keys = torch.cat([state.past[0], model.head.weight[segment] * math.sqrt(8)], 1)
    num_slots, num_keys = state.past[0].shape[1], keys.shape[1]
    limit = overrides.get("attention_range", (num_keys,))[0]
    mass = torch.zeros(num_keys).double()
    for row in range(2):
        for head in range(2):
            for i in range(num_slots, num_keys):
                visible = range(max(num_slots - num_filled, i - limit + 1), i + 1)
                q = w_q[head] @ keys[row, i]
                scores = []
                for j in visible:
                    r = w_r[head] @ sinusoid(torch.tensor([float(i - j)]).double(), 8)[0]
                    scores.append((q + model.u[0, head]) @ w_k[head] @ keys[row, j] + (q + model.v[0, head]) @ r)
                mass[visible.start : visible.stop] += (torch.stack(scores) / math.sqrt(4)).softmax(0)
    (layer, _) = model.attention_mass(segment, state)
    torch.testing.assert_close(torch.cat([*layer.values()]), mass / (2 * 2 * 4), rtol=1e-11, atol=1e-12)

"""Memory and attention range by layer: how they are written, and that short is long with the rest switched off."""

import json
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from torch import Tensor

from seqmem.cli import cli
from seqmem.config import Recipe
from seqmem.errors import SeqmemError
from seqmem.models import build_model, model_config
from seqmem.models.per_layer import Placement
from seqmem.ops import bind, reference
from seqmem.recipe import load_recipe, parse_value

TINY = {"vocab_size": 30, "d_model": 8, "num_heads": 2, "head_dim": 4, "d_inner": 12, "segment_len": 4}


def make(name="transformer-xl", **overrides):
    """A model in float64 whose weights are large, the same for all lengths."""
    torch.manual_seed(0)
    model = build_model(f"{name}/tiny", bind("pytorch"), **(TINY | overrides)).double().eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, 0, 0.3)
    return model


def tokens(length: int) -> Tensor:
    return torch.randint(0, 30, (2, length), generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        ("all", "LLLLLL"),
        ("first-0", "ssssss"),
        ("first-1", "Lsssss"),
        ("first-4", "LLLLss"),
        ("last-0", "ssssss"),
        ("last-1", "sssssL"),
        ("last-4", "ssLLLL"),
        ("last-6", "LLLLLL"),
        ("interleaved-0", "ssssss"),
        ("interleaved-1", "sssssL"),
        ("interleaved-2", "ssLssL"),
        ("interleaved-3", "sLsLsL"),
        ("interleaved-6", "LLLLLL"),
        ("all", "L"),
        ("interleaved-1", "L"),
        ("first-1", "Ls"),
        ("interleaved-2", "sLssL"),
        ("interleaved-3", "LsLsL"),
        ("interleaved-4", "sssssL" * 4),
        ("interleaved-12", "sL" * 12),
    ],
)
def test_placements(layers, expected):
    lengths = Placement(long=1024, short=128, layers=layers).per_layer(len(expected))
    assert lengths == tuple(1024 if letter == "L" else 128 for letter in expected)


def test_interleaved_layers_are_spread_evenly_and_end_with_the_last():
    for num_layers in range(1, 25):
        for k in range(1, num_layers + 1):
            lengths = Placement(long=1, short=0, layers=f"interleaved-{k}").per_layer(num_layers)
            chosen = [-1, *(layer for layer, length in enumerate(lengths) if length)]
            gaps = [after - before for before, after in pairwise(chosen)]
            assert len(gaps) == k
            assert chosen[-1] == num_layers - 1
            assert max(gaps) - min(gaps) <= 1


NOT_NEGATIVE = "input should be greater than or equal to 0"
WORDS = "should be all, first-k, last-k or interleaved-k"
RANGE = "should be positive, or -1 for no limit"


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("mem_len", {"long": 9, "short": 2, "layers": "middle-1"}, f"'mem_len.layers' = 'middle-1': {WORDS}"),
        ("mem_len", {"long": 9, "short": 2, "layers": "last"}, f"'mem_len.layers' = 'last': {WORDS}"),
        ("mem_len", {"long": 9, "short": 2, "layers": "last-3"}, "mem_len: 'last-3' of 2 layers; give at most 2"),
        ("mem_len", {"long": -9, "short": 2, "layers": "all"}, f"'mem_len.long' = -9: {NOT_NEGATIVE}"),
        ("mem_len", {"long": 9, "layers": "all"}, "'mem_len.short' is missing"),
        ("mem_len", {"long": 9, "short": 2, "layers": "all", "layer": 1}, "unknown key 'mem_len.layer'"),
        ("mem_len", [1, 2, 3], "mem_len has 3 values for 2 layers; give one, or one a layer"),
        ("mem_len", [], "mem_len has 0 values for 2 layers"),
        ("mem_len", [3, -1], f"'mem_len.1' = -1: {NOT_NEGATIVE}"),
        ("mem_len", -1, f"'mem_len' = -1: {NOT_NEGATIVE}"),
        ("mem_len", "many", "'mem_len' = 'many': input should be a valid integer"),
        ("attention_range", 0, RANGE),
        ("attention_range", [3, -2], RANGE),
        ("attention_range", [3, 3, 3], "attention_range has 3 values for 2 layers"),
    ],
    ids=str,
)
def test_a_wrong_length_is_one_helpful_line(key, value, reason):
    with pytest.raises(SeqmemError) as caught:
        model_config("transformer-xl/tiny", **{key: value})
    assert str(caught.value).startswith("model transformer-xl: ")
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


RECIPE = """
name = "tiny"
description = "for tests"
model = { name = "compressive", size = "tiny", num_layers = 3, mem_len = 16, cmem_len = 8 }
"""


@pytest.mark.parametrize(
    ("text", "expected"),
    [('{long=19,short=17,layers="last-1"}', (17, 17, 19)), ("[18, 16, 17]", (18, 16, 17)), ("20", (20, 20, 20))],
)
@pytest.mark.parametrize("key", ["mem_len", "cmem_len"])
def test_a_recipe_and_a_command_line_place_memory(tmp_path: Path, key, text, expected):
    (tmp_path / "recipe.toml").write_text(RECIPE)
    printed = CliRunner().invoke(cli, ["train", str(tmp_path), f"--model.{key}", text, "--print-config"])
    recipe = load_recipe(str(tmp_path), {f"model.{key}": parse_value(text)})
    assert Recipe.model_validate(json.loads(printed.output)) == recipe
    config = model_config(recipe.model_name, **recipe.model_overrides)
    assert getattr(config, f"{key}s") == expected


@pytest.mark.parametrize("memory_init", ["empty", "zeros"])
@pytest.mark.parametrize("compressed", [{}, {"cmem_len": (0, 3), "compression_rate": 2}], ids=["plain", "compressive"])
@torch.no_grad()
def test_a_short_memory_is_a_long_one_whose_older_slots_are_off(monkeypatch, compressed, memory_init):
    """Lengths change no weight (Rae and Razavi 2020): what the first layer does not keep might as well be masked."""
    name = "compressive" if compressed else "transformer-xl"
    short = make(name, mem_len=(3, 9), memory_init=memory_init, **compressed)
    long = make(name, mem_len=9, memory_init=memory_init, **compressed)
    slots_valid = long.slots_valid
    ids = tokens(50)
    expected = short(ids).hidden
    assert not torch.allclose(long(ids).hidden, expected)

    def without_older(layer: int, filled: Tensor) -> Tensor | None:
        valid = slots_valid(layer, filled)
        if layer == 1:
            return valid
        newest_three = (torch.arange(9) >= 6).expand(2, 9)
        return newest_three if valid is None else newest_three & valid

    monkeypatch.setattr(long, "slots_valid", without_older)
    torch.testing.assert_close(long(ids).hidden, expected, rtol=1e-12, atol=1e-12)


class NearestKeys:
    """Attends as the oracle does; beyond the ``limit`` nearest keys, itself included, nothing has any weight."""

    def __init__(self, limit: int):
        self.limit = limit

    def attend(self, q, k, v, band, *, rel, valid):
        distance = torch.arange(k.shape[1] - 1, -1, -1)
        bias = torch.zeros(1, q.shape[1], 1, k.shape[1]).double().masked_fill(distance >= self.limit, -torch.inf)
        return reference.attend(q, k, v, band, bias=bias, rel=rel, valid=valid)


@pytest.mark.parametrize("name", ["transformer-xl", "compressive"])
@pytest.mark.parametrize("ranges", [(1, 6), (5, 2), (7, 40)], ids=str)
@torch.no_grad()
def test_a_range_is_a_mask_by_distance(name, ranges):
    """Distances count keys: within the segment, into memory, and there over the slots of compressed memory."""
    compressed = {"cmem_len": 3, "compression_rate": 2} if name == "compressive" else {}
    lengths = {"mem_len": (4, 9), "memory_init": "zeros", **compressed}
    limited, masked = make(name, attention_range=ranges, **lengths), make(name, **lengths)
    ids = tokens(50)
    expected = limited(ids).hidden
    assert not torch.allclose(masked(ids).hidden, expected)
    for block, limit in zip(masked.blocks, ranges, strict=True):
        block.attention.ops = NearestKeys(limit)
    torch.testing.assert_close(masked(ids).hidden, expected, rtol=1e-11, atol=1e-11)


@torch.no_grad()
def test_one_range_is_every_layers_and_the_memorys_length_is_same_length():
    def hidden(**limits) -> Tensor:
        return make(mem_len={"long": 9, "short": 3, "layers": "last-1"}, **limits)(tokens(50)).hidden

    assert torch.equal(hidden(attention_range=5), hidden(attention_range=(5, 5)))
    assert torch.equal(hidden(attention_range=(3, 9)), hidden(same_length=True))
    assert not torch.allclose(hidden(), hidden(same_length=True))

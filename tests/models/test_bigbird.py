"""BigBird's encoder against the published sets of blocks by dense masks; layouts, padding, odd lengths, gradients."""

import pytest
import torch
from torch import Tensor

from seqmem.errors import SeqmemError
from seqmem.layers.bigbird_attention import BigBirdAttention
from seqmem.layers.block_attention import bigbird_layout
from seqmem.models.bigbird import BigBird, BigBirdConfig
from seqmem.ops import bind

TINY = {
    "vocab_size": 40,
    "max_len": 60,
    "num_layers": 2,
    "d_model": 12,
    "num_heads": 3,
    "d_inner": 20,
    "block_size": 3,
    "num_random_blocks": 2,
}
SHORT = (5 + 2 * 2) * 3
"""Tokens of the longest text with full attention."""
LENGTHS = (50, 49, 31, 30, SHORT, 4)


def make(**overrides) -> BigBird:
    torch.manual_seed(0)
    model = BigBird(BigBirdConfig(**(TINY | overrides)), bind("pytorch")).double().eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, 0, 0.3)
    return model


def batch() -> tuple[Tensor, Tensor, Tensor]:
    """Tokens, which of them are no padding, and their kinds."""
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(0, 40, (len(LENGTHS), max(LENGTHS)), generator=generator)
    types = torch.randint(0, 2, ids.shape, generator=generator)
    return ids, torch.arange(max(LENGTHS)) < torch.tensor(LENGTHS)[:, None], types


def fixed_blocks(row: int, num_blocks: int) -> set[int]:
    """What the paper lets every head's block see: its window of three, and all that is global."""
    last = num_blocks - 1
    if row in (0, last):
        return set(range(num_blocks))
    return {row - 1, row, row + 1, 0, last}


def random_blocks(attention: BigBirdAttention, head: int, row: int, num_blocks: int) -> set[int]:
    """The layout's other blocks."""
    layout = bigbird_layout(attention.heads[0], num_blocks, attention.num_random, attention.seed)
    return set(layout[head, row].nonzero()[0].tolist()) - fixed_blocks(row, num_blocks)


def by_counts(attention: BigBirdAttention, x: Tensor, counts: Tensor) -> Tensor:
    """Full attention in which query i counts key j ``counts [H, T, T]`` times."""
    num_heads, width = attention.heads
    q, k, v = attention.qkv(x).unflatten(-1, (3, num_heads, width)).permute(2, 0, 3, 1, 4)
    weights = (q @ k.mT / width**0.5).exp() * counts
    probs = weights / weights.sum(-1, keepdim=True)
    return attention.out((probs @ v).transpose(1, 2).flatten(2))


def published_counts(attention: BigBirdAttention, length: int) -> Tensor:
    """How often each query counts each key, block by block from the sets."""
    size, num_blocks = attention.size, -(-length // attention.size)
    counts = torch.zeros(attention.heads[0], length, length, dtype=torch.float64)
    for head in range(attention.heads[0]):
        for row in range(num_blocks):
            if attention.seed is None:
                others = [0] * attention.num_random if 0 < row < num_blocks - 1 else []
            else:
                others = sorted(random_blocks(attention, head, row, num_blocks))
            for block in [*fixed_blocks(row, num_blocks), *others]:
                counts[head, row * size : (row + 1) * size, block * size : (block + 1) * size] += 1
    return counts


@pytest.mark.parametrize("num_blocks", [6, 9, 10, 23])
@pytest.mark.parametrize("num_random", [0, 1, 3])
def test_every_block_sees_the_published_sets(num_blocks: int, num_random: int):
    layout = bigbird_layout(4, num_blocks, num_random, seed=5)
    for head in range(4):
        for row in range(num_blocks):
            seen = set(layout[head, row].nonzero()[0].tolist())
            fixed = fixed_blocks(row, num_blocks)
            legal = set(range(num_blocks)) - fixed
            if row in (1, num_blocks - 2):
                legal -= {1, num_blocks - 2}
            assert seen >= fixed
            assert seen - fixed <= legal
            assert len(seen - fixed) == min(num_random, len(legal))


def test_random_blocks_differ_by_head_layer_and_seed_and_come_again():
    layout = bigbird_layout(2, 20, 3, seed=5)
    assert (layout[0] != layout[1]).any()
    bigbird_layout.cache_clear()
    assert (layout == bigbird_layout(2, 20, 3, seed=5)).all()
    assert (layout != bigbird_layout(2, 20, 3, seed=6)).any()
    first, second = (block.attention.seed for block in make(layout_seed=5).blocks)
    assert first == 5 != second


def test_every_other_block_is_drawn_sometimes():
    drawn = bigbird_layout(400, 10, 2, seed=0).any(0)
    drawn[[1, -2], [-2, 1]] = True
    assert drawn.all()


@pytest.mark.parametrize("backend", ["pytorch", "tvm"])
@pytest.mark.parametrize("seed", [7, None])
@pytest.mark.parametrize("length", [28, 30, 41])
@torch.no_grad()
def test_attention_is_what_the_sets_say(backend: str, seed: int | None, length: int):
    torch.manual_seed(0)
    attention = BigBirdAttention(12, 3, 3, 2, seed, 0.0, bind(backend)).double()
    x = torch.randn(2, length, 12).double()
    wanted = by_counts(attention, x, published_counts(attention, length))
    torch.testing.assert_close(attention(x, None), wanted, rtol=0, atol=1e-12)


@pytest.mark.parametrize("seed", [7, None])
@torch.no_grad()
def test_keys_that_are_no_tokens_count_nothing(seed: int | None):
    torch.manual_seed(0)
    attention = BigBirdAttention(12, 3, 3, 2, seed, 0.0, bind("pytorch")).double()
    x = torch.randn(1, 41, 12).double()
    valid = torch.rand(1, 41) < 0.8
    wanted = by_counts(attention, x, published_counts(attention, 41) * valid[0])
    out = attention(x, valid)
    torch.testing.assert_close(out[valid], wanted[valid], rtol=0, atol=1e-12)


@pytest.mark.parametrize("seed", [7, None])
@torch.no_grad()
def test_short_texts_have_full_attention(seed: int | None):
    torch.manual_seed(0)
    attention = BigBirdAttention(12, 3, 3, 2, seed, 0.0, bind("pytorch")).double()
    for length in (1, 3, SHORT):
        x = torch.randn(2, length, 12).double()
        wanted = by_counts(attention, x, torch.ones(3, length, length))
        torch.testing.assert_close(attention(x, None), wanted, rtol=0, atol=1e-12)


@torch.no_grad()
def test_padding_and_neighbours_in_the_batch_change_nothing():
    model = make()
    ids, valid, types = batch()
    hidden = model(ids, valid, types=types)
    other = model(ids.where(valid, 39 - ids), valid, types=types)
    for row, length in enumerate(LENGTHS):
        alone = model(ids[row : row + 1, :length], types=types[row : row + 1, :length])
        torch.testing.assert_close(hidden[row, :length], alone[0], rtol=0, atol=1e-12)
        torch.testing.assert_close(other[row, :length], alone[0], rtol=0, atol=1e-12)


@torch.no_grad()
def test_a_text_without_tokens_harms_no_other():
    model = make()
    ids, valid, _ = batch()
    emptied = valid.clone()
    emptied[1] = False
    hidden = model(ids, emptied)
    assert hidden.isfinite().all()
    torch.testing.assert_close(hidden[emptied], model(ids, valid)[emptied], rtol=0, atol=1e-12)


@torch.no_grad()
def test_as_hugging_face_has_it_the_last_block_is_that_of_the_batch():
    model = make(layout="hugging-face")
    ids, valid, _ = batch()
    hidden = model(ids, valid)
    other = model(ids.where(valid, 39 - ids), valid)
    torch.testing.assert_close(hidden[valid], other[valid], rtol=0, atol=1e-12)
    for row, length in enumerate(LENGTHS[:2]):
        torch.testing.assert_close(hidden[row, :length], model(ids[row : row + 1, :length])[0], rtol=0, atol=1e-12)
    assert (hidden[2, :31] - model(ids[2:3, :31])[0]).abs().max() > 1e-3


@pytest.mark.parametrize("layout", ["drawn", "hugging-face"])
def test_gradients(layout: str):
    torch.manual_seed(0)
    attention = BigBirdAttention(4, 2, 2, 1, 3 if layout == "drawn" else None, 0.0, bind("pytorch")).double()
    x = torch.randn(1, 17, 4).double().requires_grad_()
    valid = torch.arange(17)[None] != 1
    weights = list(attention.parameters())
    assert torch.autograd.gradcheck(lambda x, *_: attention(x, valid)[valid], (x, *weights), fast_mode=True)


def test_gradients_of_a_padded_batch_are_the_sum_of_its_texts():
    model = make()
    ids, valid, _ = batch()
    targets = ids.roll(1, 1)
    nll = model.head.nll(model(ids, valid), targets)
    together = torch.autograd.grad(nll[valid].sum(), model.positions.weight)[0]
    alone = torch.zeros_like(together)
    for row, length in enumerate(LENGTHS):
        text = slice(row, row + 1), slice(length)
        nll = model.head.nll(model(ids[text]), targets[text])
        alone += torch.autograd.grad(nll.sum(), model.positions.weight)[0]
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-10)


def test_dropout_trains():
    model = make().train()
    ids, valid, _ = batch()
    model.head.nll(model(ids, valid), ids)[valid].mean().backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())
    assert not torch.equal(model(ids, valid), model(ids, valid))


@pytest.mark.parametrize(("size", "parameters"), [("base", 127_520_694), ("large", 359_176_374)])
def test_published_sizes(size: str, parameters: int):
    """Those of Hugging Face's BigBirdForMaskedLM without the pooler, which that head does not use."""
    with torch.device("meta"):
        model = BigBird(BigBirdConfig(**BigBird.SIZES[size]), bind())
    assert model.num_parameters == parameters


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"inputs": torch.zeros(1, 61).long()}, "61 tokens, but max_len = 60"),
        ({"inputs": torch.zeros(1, 5).long(), "valid": torch.ones(1, 5)}, "valid is torch.float32"),
        ({"inputs": torch.zeros(1, 5).long(), "global_mask": torch.ones(1, 5).bool()}, "global_mask: BigBird's"),
    ],
)
def test_bad_input_is_named(arguments, message):
    with pytest.raises(SeqmemError, match=message):
        make()(**arguments)

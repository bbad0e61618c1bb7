"""Longformer's encoder against its definition by dense masks; padding, odd lengths, global tokens, gradients."""

import pytest
import torch
from torch import Tensor

from seqmem.errors import SeqmemError
from seqmem.layers.global_attention import GlobalTokens, GlobalWindowAttention
from seqmem.models.longformer import Longformer, LongformerConfig
from seqmem.ops import bind

TINY = {
    "vocab_size": 40,
    "max_len": 50,
    "num_layers": 2,
    "d_model": 12,
    "num_heads": 3,
    "d_inner": 20,
    "window": (2, 5),
}
GLOBALS = {0: [], 1: [4], 2: [0, 7, 21]}
"""Places of global tokens, by row of the batch."""


def make(backend: str = "pytorch", **overrides) -> Longformer:
    torch.manual_seed(0)
    model = Longformer(LongformerConfig(**(TINY | overrides)), bind(backend)).double().eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, 0, 0.3)
    return model


def batch(length: int = 23) -> tuple[Tensor, Tensor, Tensor]:
    """Tokens, which of them are no padding, and which are global."""
    ids = torch.randint(0, 40, (3, length), generator=torch.Generator().manual_seed(1))
    valid = torch.arange(length) < torch.tensor([[length], [9], [length - 1]])
    mask = torch.zeros(3, length, dtype=torch.bool)
    for row, places in GLOBALS.items():
        mask[row, places] = True
    return ids, valid, mask


def by_masks(
    attention: GlobalWindowAttention, x: Tensor, valid: Tensor, is_global: Tensor, band: tuple[int, int]
) -> Tensor:
    """Two full attentions: one for everybody, one for the rows of global tokens."""
    window, dilation = band
    num_heads, width = attention.heads
    at = torch.arange(x.shape[1])
    steps = at - at[:, None]
    near = (steps.abs() <= window * dilation) & (steps % dilation == 0)

    def attended(projection: torch.nn.Linear, mask: Tensor) -> Tensor:
        q, k, v = projection(x).unflatten(-1, (3, num_heads, width)).permute(2, 0, 3, 1, 4)
        scores = (q @ k.mT / width**0.5).masked_fill(~mask[:, None], -torch.inf)
        probs = scores.softmax(-1).nan_to_num(0)
        return (probs @ v).transpose(1, 2).flatten(2)

    local = attended(attention.qkv, (near | is_global[:, None]) & valid[:, None])
    everything = attended(attention.global_qkv, valid[:, None].expand(-1, x.shape[1], -1))
    return attention.out(torch.where(is_global[..., None], everything, local) * valid[..., None])


@pytest.mark.parametrize("backend", ["pytorch", "tvm"])
@pytest.mark.parametrize("dilation", [1, 3])
@torch.no_grad()
def test_attention_is_what_the_masks_say(backend: str, dilation: int):
    torch.manual_seed(0)
    attention = GlobalWindowAttention(12, 3, 4, dilation, 0.0, bind(backend)).double()
    x = torch.randn(3, 23, 12).double()
    _, valid, mask = batch()
    out = attention(x, valid, GlobalTokens.of(mask))
    assert torch.isfinite(out).all()
    wanted = by_masks(attention, x, valid, mask, (4, dilation))
    torch.testing.assert_close(out[valid], wanted[valid], rtol=0, atol=1e-12)


@torch.no_grad()
def test_padding_and_neighbours_in_the_batch_change_nothing():
    model = make()
    ids, valid, mask = batch()
    hidden = model(ids, valid, mask)
    for row, length in enumerate(valid.sum(1).tolist()):
        alone = model(ids[row : row + 1, :length], None, mask[row : row + 1, :length])
        torch.testing.assert_close(hidden[row, :length], alone[0], rtol=0, atol=1e-12)


@pytest.mark.parametrize("length", [1, 2, 11, 12, 13])
@torch.no_grad()
def test_any_length_and_a_window_over_all_is_full_attention(length: int):
    model = make(window=49)
    ids, _, _ = batch(length=23)
    ids = ids[:, :length]
    everything = torch.ones_like(ids, dtype=torch.bool)
    full = model(ids)
    for block in model.blocks:
        block.attention.global_qkv.load_state_dict(block.attention.qkv.state_dict())
    torch.testing.assert_close(model(ids, global_mask=everything), full, rtol=0, atol=1e-12)


def test_gradients():
    torch.manual_seed(0)
    attention = GlobalWindowAttention(6, 2, 2, 1, 0.0, bind("pytorch")).double()
    x = torch.randn(2, 7, 6).double().requires_grad_()
    valid = torch.arange(7) < torch.tensor([[7], [5]])
    tokens = GlobalTokens.of(torch.tensor([[0, 1, 0, 0, 0, 1, 0], [1, 0, 0, 0, 0, 0, 0]]).bool())
    weights = list(attention.parameters())
    assert torch.autograd.gradcheck(lambda x, *_: attention(x, valid, tokens)[valid], (x, *weights))


def test_without_global_tokens_their_projections_do_not_matter():
    model = make()
    ids, valid, mask = batch()
    before = model(ids, valid)
    for block in model.blocks:
        torch.nn.init.normal_(block.attention.global_qkv.weight)
    assert torch.equal(model(ids, valid), before)
    assert torch.equal(model(ids, valid, torch.zeros_like(mask)), before)
    assert not torch.equal(model(ids, valid, mask)[2], before[2])


def test_a_new_model_begins_with_equal_projections():
    model = Longformer(LongformerConfig(**TINY), bind("pytorch"))
    for block in model.blocks:
        assert torch.equal(block.attention.qkv.weight, block.attention.global_qkv.weight)
    assert model.head.logits(torch.zeros(2, 12)).shape == (2, 40)


@pytest.mark.parametrize(("size", "millions"), [("base", 148.7), ("large", 434.6)])
def test_published_sizes(size: str, millions: float):
    """Hugging Face's counts of allenai/longformer-base-4096 and -large-4096, with the masked language model's head."""
    with torch.device("meta"):
        model = Longformer(LongformerConfig(**Longformer.SIZES[size]), bind())
    assert model.num_parameters / 1e6 == pytest.approx(millions, rel=0.002)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"inputs": torch.zeros(1, 51).long()}, "51 tokens, but max_len = 50"),
        ({"inputs": torch.zeros(1, 5).long(), "valid": torch.ones(1, 5)}, "valid is torch.float32"),
        ({"inputs": torch.zeros(1, 5).long(), "global_mask": torch.ones(5).bool()}, r"global_mask is torch.bool \[5\]"),
    ],
)
def test_bad_input_is_named(arguments, message):
    with pytest.raises(SeqmemError, match=message):
        make()(**arguments)


@pytest.mark.parametrize("places", [[3], [0, 2, 5, 9, 22]], ids=["through inputs", "through keys"])
def test_rows_of_global_tokens_come_out_the_same_by_either_order_of_products(places: list[int]):
    attention = make().blocks[0].attention
    x = torch.randn(2, 23, 12, dtype=torch.float64)
    valid = torch.arange(23) < torch.tensor([[23], [12]])
    rows = x[:, places]
    through_inputs = attention._rows_through_inputs(rows, x, valid)
    torch.testing.assert_close(through_inputs, attention._rows_through_keys(rows, x, valid), atol=1e-12, rtol=0)


def test_dropped_probabilities_take_their_share_of_the_values_bias_with_them():
    attention = make(attention_dropout=0.5).blocks[0].attention.train()
    width = attention.global_qkv.weight.shape[1]
    torch.nn.init.zeros_(attention.global_qkv.weight[2 * width :])
    torch.nn.init.ones_(attention.global_qkv.bias[2 * width :])
    x = torch.randn(1, 23, 12, dtype=torch.float64)
    for way in (attention._rows_through_inputs, attention._rows_through_keys):
        kept = way(x[:, :2], x, None)
        assert (kept - kept[..., :1]).abs().max() < 1e-12
        assert (kept - 1).abs().min() > 1e-6
        assert kept.mean().sub(1).abs() < 0.5

"""The causal BigBird: its layout, and values under it."""

import numpy as np
import pytest
import torch

from seqmem.layers.block_attention import BlockAttention, causal_bigbird_layout
from seqmem.models import build_model
from seqmem.ops import bind

OPS = bind("pytorch")


def test_layout():
    layout = causal_bigbird_layout(3, 12, 2, seed=5)
    assert not np.triu(layout, 1).any()
    assert layout[:, :, 0].all()
    for row in range(12):
        assert layout[:, row, max(0, row - 1) : row + 1].all()
        assert (layout[:, row].sum(-1) == min(row + 1, 5)).all()
    assert not (layout[0] == layout[1]).all()
    assert (layout == causal_bigbird_layout(3, 12, 2, seed=5)).all()
    assert not (layout == causal_bigbird_layout(3, 12, 2, seed=6)).all()


@torch.no_grad()
def test_values_are_those_of_the_mask():
    torch.manual_seed(0)
    layout = causal_bigbird_layout(2, 8, 1, seed=0)
    mixer = BlockAttention(12, 2, 5, layout, 3, 0.0, OPS).double()
    x = torch.randn(2, 23, 12).double()
    out, _ = mixer(x, x[:, :0], None, x.new_zeros(0))
    q, k, v = mixer.qkv(x).unflatten(-1, (3, 2, 5)).permute(2, 0, 3, 1, 4)
    block, at = torch.arange(23) // 3, torch.arange(23)
    mask = torch.from_numpy(layout)[:, block[:, None], block] & (at <= at[:, None])
    scores = (q @ k.mT / 5**0.5).masked_fill(~mask, -torch.inf)
    expected = mixer.out((scores.softmax(-1) @ v).transpose(1, 2).flatten(2))
    torch.testing.assert_close(out, expected, rtol=0, atol=1e-12)


def test_layers_have_random_blocks_of_their_own():
    model = build_model("bigbird-lm/tiny", OPS)
    first, second = (block.mixer.layout for block in model.blocks)
    assert not (first == second).all()


@pytest.mark.parametrize("name", ["bigbird-lm", "sparse-transformer"])
def test_a_state_never_outgrows_the_context(name: str):
    model = build_model(f"{name}/tiny", OPS).eval()
    state = model(torch.zeros(1, model.config.segment_len - 1, dtype=torch.int64)).state
    assert state.past[0].shape[1] == model.config.segment_len - 1
    assert model(torch.zeros(1, 1, dtype=torch.int64), state).state.past[0].shape[1] == 0

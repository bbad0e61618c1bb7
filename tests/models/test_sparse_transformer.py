"""The Sparse Transformer's patterns against the sets of its paper, one query at a time."""

import pytest
import torch
from torch import Tensor

from seqmem.errors import SeqmemError
from seqmem.layers.block_attention import BlockAttention, fixed_layout
from seqmem.layers.past_attention import PastAttention
from seqmem.layers.strided_attention import StridedAttention
from seqmem.models import build_model, model_config
from seqmem.ops import bind

LENGTH, STRIDE = 29, 6
OPS = bind("pytorch")


def strided(head: int, i: int) -> set[int]:
    near = set(range(max(0, i - STRIDE + 1), i + 1))
    return near | {j for j in range(i + 1) if (i - j) % STRIDE == 0}


def fixed(head: int, i: int) -> set[int]:
    """Summaries of 2 tokens: of even heads the last two of a block, of odd heads those before."""
    same_block = {j for j in range(i + 1) if j // STRIDE == i // STRIDE}
    last = STRIDE - 2 * (head % 2)
    return same_block | {j for j in range(i + 1) if j % STRIDE in (last - 2, last - 1)}


MIXERS = {
    "strided": (strided, lambda: StridedAttention(12, 3, 4, STRIDE, LENGTH, 0.0, OPS)),
    "fixed": (fixed, lambda: BlockAttention(12, 3, 4, fixed_layout(3, STRIDE // 2, 2, 15), 2, 0.0, OPS)),
}


def by_loops(mixer: PastAttention, x: Tensor, seen_by) -> Tensor:
    w_q, w_k, w_v = mixer.qkv.weight.view(3, *mixer.heads, -1)
    rows = []
    for i in range(len(x)):
        heads = []
        for h in range(mixer.heads[0]):
            seen = sorted(seen_by(h, i))
            probs = torch.stack([(w_q[h] @ x[i]) @ (w_k[h] @ x[j]) / 2 for j in seen]).softmax(0)
            heads.append(sum(p * (w_v[h] @ x[j]) for p, j in zip(probs, seen, strict=True)))
        rows.append(mixer.out(torch.cat(heads)))
    return torch.stack(rows)


@pytest.mark.parametrize("name", MIXERS)
@torch.no_grad()
def test_values_are_a_softmax_over_the_union(name: str):
    seen_by, make = MIXERS[name]
    torch.manual_seed(0)
    mixer = make().double()
    x = torch.randn(1, LENGTH, 12).double()
    out, _ = mixer(x, x[:, :0], None, x.new_zeros(0))
    torch.testing.assert_close(out[0], by_loops(mixer, x[0], seen_by), rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", MIXERS)
def test_gradients(name: str):
    torch.manual_seed(0)
    mixer = MIXERS[name][1]().double()
    x, past = (torch.randn(1, length, 12).double().requires_grad_() for length in (7, 8))
    assert torch.autograd.gradcheck(lambda x, past: mixer(x, past, None, x.new_zeros(0))[0], (x, past))


def test_published_size():
    with torch.device("meta"):
        model = build_model(model_config("sparse-transformer/enwik8"), bind())
    assert model.num_parameters / 1e6 == pytest.approx(95, rel=0.01)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"summary": 4}, "stride = 6 is not a multiple of summary = 4"),
        ({"num_summaries": 4}, "4 summaries of 2 tokens in a stride of 6"),
        ({"carry": True}, "carry"),
    ],
)
def test_what_does_not_fit_is_named(overrides, message):
    with pytest.raises(SeqmemError, match=message):
        model_config("sparse-transformer/tiny", **overrides)

"""merge is exact over disjoint keys; key_usage is where attention went."""

import pytest
import torch

from seqmem.errors import SeqmemError
from seqmem.ops import Band, Blocks, Dense, Gather, bind, merge, reference

OPS = bind("pytorch")
HALF = torch.arange(50).view(2, 5, 5) % 2 > 0


def draw(*shape):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(sum(shape)))


def test_three_disjoint_parts_are_one_attention():
    q, k, v = draw(2, 9, 2, 4), draw(2, 13, 2, 4), draw(2, 13, 2, 5)
    third = torch.arange(13) % 3
    parts = [OPS.attend(q, k, v, Dense(), valid=(third == i).expand(2, 13)) for i in range(3)]
    torch.testing.assert_close(merge(parts), reference.attend(q, k, v, Dense()))


def test_rows_empty_in_every_part_give_zero_and_zero_gradients():
    q, k, v = (draw(1, 4, 1, 3).requires_grad_() for _ in range(3))
    none = torch.zeros(1, 4, dtype=torch.bool)
    out, lse = merge([OPS.attend(q, k, v, Band(1), valid=none), OPS.attend(q, k, v, Dense(), valid=none)])
    assert not out.any()
    assert (lse == -torch.inf).all()
    for gradient in torch.autograd.grad(out.sum() + lse.masked_fill(lse == -torch.inf, 0).sum(), (q, k, v)):
        assert not gradient.any()


def test_merge_is_twice_differentiable_through_unfused_parts():
    q, k, v = (draw(1, 5, 1, 2).requires_grad_() for _ in range(3))
    early = (torch.arange(5) < 2).expand(1, 5)

    def union(*qkv):
        return merge([OPS.attend(*qkv, Band(4), valid=side, fused=False) for side in (early, ~early)])[0]

    assert torch.autograd.gradgradcheck(union, (q, k, v))


def test_overlap_is_an_error_in_debug_mode(monkeypatch):
    q = draw(1, 6, 1, 2)
    patterns = [Band(1), Gather(torch.tensor([[0]]))]
    parts = [OPS.attend(q, q, q, pattern) for pattern in patterns]
    merge(parts, patterns, 6)
    monkeypatch.setenv("SEQMEM_DEBUG", "1")
    with pytest.raises(SeqmemError, match="key 0 is in two parts for query 0"):
        merge(parts, patterns, 6)
    with pytest.raises(SeqmemError, match="no parts"):
        merge([])


@pytest.mark.parametrize(
    "pattern",
    [Band(3), Band(2, 1, 2), Band((1, 3), 0, (2, 1)), Dense(), Gather(torch.tensor([[5, 1], [0, 3]])), Blocks(HALF, 2)],
    ids=str,
)
def test_key_usage_against_the_oracle(pattern):
    q, k = draw(2, 7, 2, 4), draw(2, 9, 2, 4)
    columns = {Dense: 9, Gather: 2, Blocks: 9}.get(type(pattern)) or pattern.num_columns
    valid = draw(2, 9) > -0.7
    bias = None if isinstance(pattern, Blocks) else draw(1, 1, 2, columns)
    rel = (draw(2, 7, 2, 4), draw(columns, 2, 4)) if isinstance(pattern, Band) else None
    _, lse = OPS.attend(q, k, k, pattern, valid=valid, bias=bias, rel=rel)
    usage = OPS.key_usage(q, k, pattern, lse, valid=valid, bias=bias, rel=rel)
    torch.testing.assert_close(usage, reference.key_usage(q, k, pattern, valid=valid, bias=bias, rel=rel))

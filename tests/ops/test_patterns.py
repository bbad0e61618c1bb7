"""Patterns are defined by to_mask; their other views must agree with it."""

import pytest
import torch

from seqmem.errors import SeqmemError
from seqmem.ops import Band, Dense, Gather
from seqmem.ops.pattern import head_groups


@pytest.mark.parametrize(("left", "right", "dilation"), [(0, 0, 1), (3, 0, 1), (2, 4, 1), (2, 1, 3), (40, 40, 2)])
def test_band_mask_by_definition(left, right, dilation):
    num_queries, num_keys = 9, 13
    mask = Band(left, right, dilation).to_mask(num_queries, num_keys)
    for i in range(num_queries):
        position = i + num_keys - num_queries
        seen = {position + (c - left) * dilation for c in range(left + right + 1)}
        assert {j for j in range(num_keys) if mask[i, j]} == {j for j in seen if 0 <= j < num_keys}


def test_columns_inside_counts_the_mask():
    band = Band(5, 2, 2)
    assert torch.equal(band.columns_inside(7, 11).sum(1), band.to_mask(7, 11).sum(1))


def test_per_head_mask_stacks_the_heads():
    mask = Band((1, 4), (0, 1), (1, 2)).to_mask(6, 8)
    assert torch.equal(mask[0], Band(1, 0, 1).to_mask(6, 8))
    assert torch.equal(mask[1], Band(4, 1, 2).to_mask(6, 8))


def test_gather_mask_ignores_invalid_and_future_keys():
    index = torch.tensor([[4, 0, 99]])
    mask = Gather(index, torch.tensor([[True, True, False]]), causal=True).to_mask(3, 5)
    assert mask.tolist() == [[[[True] + [False] * 4] * 2 + [[True, False, False, False, True]]]]


def test_dense_mask_is_full():
    assert Dense().to_mask(2, 5).all()
    assert Dense().to_mask(2, 5).shape == (2, 5)


def test_head_groups_are_views_where_heads_are_evenly_spaced():
    groups = head_groups(Band((1, 2, 1, 2)), 4)
    assert [(group.band, group.heads) for group in groups] == [(Band(1), slice(0, 3, 2)), (Band(2), slice(1, 4, 2))]
    assert groups[0].columns == slice(1, 3)
    odd = head_groups(Band((1, 1, 2, 1)), 4)
    assert odd[0].heads == [0, 1, 3]


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: Band(-1), "left must be at least 0"),
        (lambda: Band(1, dilation=0), "dilation must be at least 1"),
        (lambda: Band((1, 2), (0, 0, 0)), "differ in length"),
        (lambda: Band((1, 2)).of_heads(3), "2 values for 3 heads"),
        (lambda: Gather(torch.zeros(3)), "int64"),
        (lambda: Gather(torch.zeros(1, 3).long(), torch.zeros(1, 3)), "bool"),
    ],
)
def test_bad_patterns_say_why(make, reason):
    with pytest.raises(SeqmemError, match=reason):
        make()

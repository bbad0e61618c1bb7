"""The dropout hash: right rate, no pattern along any axis, the same keys whatever computes."""

import pytest
import torch

from seqmem.errors import SeqmemError
from seqmem.ops import Band, Dense, bind
from seqmem.ops.dropout import keep, mix, row_keys


def mask(seed=3, probability=0.25, batch=2, heads=3, queries=128, keys=256):
    rows = row_keys(seed, batch, heads, "cpu")[..., None, None]
    return keep(rows, torch.arange(queries)[:, None], torch.arange(keys), probability)


def test_known_values_pin_the_hash():
    """Every backend implements these integers; a change here is a change of the contract."""
    assert mix(torch.tensor([0, 1, 2**32 - 1])).tolist() == [0, 1753845952, 1734902346]
    assert mask(batch=1, heads=1, queries=1, keys=16).int().flatten().tolist() == [
        1,
        0,
        1,
        1,
        0,
        0,
        0,
        1,
        1,
        1,
        0,
        1,
        1,
        1,
        1,
        1,
    ]


def test_rate_and_independence():
    kept = mask(batch=4, queries=256).double()
    assert abs(kept.mean().item() - 0.75) < 0.002
    centred = kept - kept.mean()
    for axis, shift in ((0, 1), (1, 1), (2, 1), (2, 2), (3, 1), (3, 2), (3, 32)):
        correlation = (centred * centred.roll(shift, axis)).mean() / centred.square().mean()
        assert abs(correlation.item()) < 0.006, (axis, shift)


def test_seeds_differ_in_high_and_low_bits():
    first = mask(seed=5)
    for other in (6, 5 + 2**32, 5 + 2**40):
        assert 0.5 < (first == mask(seed=other)).double().mean().item() < 0.7


def test_tensor_seed_equals_integer_seed():
    q = torch.randn(1, 20, 2, 4)
    ops = bind("pytorch")
    first, _ = ops.attend(q, q, q, Band(5), dropout=0.5, seed=11)
    second, _ = ops.attend(q, q, q, Band(5), dropout=0.5, seed=torch.tensor(11))
    assert torch.equal(first, second)


def test_lse_is_undropped_and_mean_is_kept():
    v = torch.randn(1, 64, 2, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).clamp(-1, 1)
    q = 0.1 * v
    ops = bind("pytorch")
    out, lse = ops.attend(q, q, v, Dense())
    total = torch.zeros_like(out)
    for seed in range(100):
        dropped, dropped_lse = ops.attend(q, q, v, Dense(), dropout=0.3, seed=seed)
        assert torch.equal(dropped_lse, lse)
        total += dropped
    assert (total / 100 - out).abs().max() < 0.05


def test_dropout_needs_a_seed():
    q = torch.randn(1, 3, 1, 2)
    with pytest.raises(SeqmemError, match="without a seed"):
        bind("pytorch").attend(q, q, q, Band(1), dropout=0.1)
    with pytest.raises(SeqmemError, match="probability"):
        bind("pytorch").attend(q, q, q, Band(1), dropout=1.0, seed=1)

"""The sampler's distribution."""

import pytest
import torch

from seqmem.generate.sampling import Sampler

PROBS = torch.tensor([0.1, 0.5, 0.05, 0.35])


def frequencies(sampler: Sampler) -> torch.Tensor:
    draws = sampler(PROBS.log().expand(20_000, 4))
    return torch.bincount(draws, minlength=4) / len(draws)


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_temperature_zero_takes_the_likeliest():
    assert Sampler(temperature=0)(torch.stack([PROBS, -PROBS])).tolist() == [1, 2]


def test_draws_follow_the_softmax():
    assert frequencies(Sampler(generator=seeded())).tolist() == pytest.approx(PROBS.tolist(), abs=0.015)


def test_temperature_sharpens():
    sharp = PROBS**2 / (PROBS**2).sum()
    assert frequencies(Sampler(temperature=0.5, generator=seeded())).tolist() == pytest.approx(
        sharp.tolist(), abs=0.015
    )


@pytest.mark.parametrize(
    ("top_p", "kept"), [(0.01, [1]), (0.5, [1]), (0.51, [1, 3]), (0.86, [0, 1, 3]), (0.96, [0, 1, 2, 3])]
)
def test_nucleus_is_the_fewest_that_reach_top_p(top_p, kept):
    nucleus = torch.zeros(4)
    nucleus[kept] = PROBS[kept] / PROBS[kept].sum()
    found = frequencies(Sampler(top_p=top_p, generator=seeded()))
    assert found.tolist() == pytest.approx(nucleus.tolist(), abs=0.015)
    assert found.nonzero().flatten().tolist() == kept


def test_seed_decides():
    logits = torch.zeros(100, 50)
    first, again, other = (Sampler(generator=torch.Generator().manual_seed(seed))(logits) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_impossible_class_is_never_drawn():
    logits = torch.tensor([[0.0, -torch.inf]]).expand(1000, 2)
    assert not Sampler(top_p=0.9, generator=seeded())(logits).any()

"""Masks of models' layers, recorded from the operations that they call."""

import pytest
import torch

from seqmem.errors import SeqmemError
from seqmem.models import encoder_config, model_config
from seqmem.report.mask import attention_masks, drawn


def test_windows_and_dilated_heads():
    first, second = attention_masks(model_config("longformer-lm/tiny", segment_len=9), 5)
    assert first.shape == (1, 5, 3 + 5)
    steps = torch.arange(8) - 3 - torch.arange(5)[:, None]
    assert torch.equal(first[0], (steps <= 0) & (steps > -4))
    steps = torch.arange(14 + 5) - 14 - torch.arange(5)[:, None]
    assert torch.equal(second[0], (steps <= 0) & (steps > -8))
    assert torch.equal(second[1], (steps <= 0) & (steps > -16) & (steps % 2 == 0))


def test_what_a_bias_switches_off_is_not_seen():
    masks = attention_masks(model_config("adaptive-span/tiny", max_span=6, ramp=2), 4)
    steps = torch.arange(6 + 4) - 6 - torch.arange(4)[:, None]
    for mask in masks:
        assert torch.equal(mask[0], (steps < 0) & (steps >= -6))


def test_parts_of_a_layer_are_one_mask():
    (mask, _) = attention_masks(model_config("sparse-transformer/tiny", pattern="strided", stride=3), 10)
    steps = torch.arange(10)[:, None] - torch.arange(10)
    assert torch.equal(mask[0], (steps >= 0) & ((steps < 3) | (steps % 3 == 0)))


def test_memory_is_full_and_convolutions_are_bands():
    memory, _ = attention_masks(model_config("transformer-xl/tiny", mem_len=5), 3)
    assert torch.equal(memory[0], torch.ones(3, 8, dtype=torch.bool).tril(5))
    taps, _ = attention_masks(model_config("light-conv/tiny"), 3)
    assert torch.equal(taps[0].sum(-1), torch.tensor([3, 3, 3]))


def test_encoders_see_both_sides():
    first, second = attention_masks(encoder_config("longformer/tiny", window=(1, 3)), 7)
    apart = (torch.arange(7)[:, None] - torch.arange(7)).abs()
    assert torch.equal(first[0], apart <= 1)
    assert torch.equal(second[0], apart <= 3)
    masks = attention_masks(encoder_config("bigbird/tiny", block_size=2, num_random_blocks=1), 20)
    for mask in masks:
        assert mask[:, :2].all()
        assert mask[:, :, -2:].all()
        assert (mask.sum(-1)[:, 2:-2] <= 2 * 6).all()


def test_a_model_without_attention_says_so():
    with pytest.raises(SeqmemError, match="WaveNet asks no operation to attend"):
        attention_masks(model_config("wavenet/tiny"), 3)


def test_drawn():
    assert drawn(torch.eye(4, dtype=torch.bool), 10).splitlines() == ["▒▒  ", "  ▒▒"]
    assert len(drawn(torch.ones(50, 100, dtype=torch.bool), 10).splitlines()[0]) == 10

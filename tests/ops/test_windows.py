"""Windows as others count them."""

import pytest
import torch

from seqmem.errors import SeqmemError
from seqmem.ops import windows


def seen(band, query: int, num_keys: int = 12) -> list[int]:
    return torch.nonzero(band.to_mask(num_keys, num_keys)[query])[:, 0].tolist()


def test_a_window_of_four_in_every_convention():
    assert seen(windows.from_longformer(4), 6) == [4, 5, 6, 7, 8]
    assert seen(windows.from_longformer_code(4), 6) == [2, 3, 4, 5, 6, 7, 8, 9, 10]
    assert seen(windows.from_longformer_code(2, 2, autoregressive=True), 6) == [2, 4, 6]
    assert seen(windows.from_mistral(4), 6) == [3, 4, 5, 6]
    assert seen(windows.from_flash_attention(4, 0, 12), 6) == [2, 3, 4, 5, 6]
    assert seen(windows.from_flash_attention(-1, 1, 12), 6) == [0, 1, 2, 3, 4, 5, 6, 7]


@pytest.mark.parametrize("window", [0, 3, -2])
def test_an_odd_longformer_window_is_refused(window: int):
    with pytest.raises(SeqmemError, match=f"attention_window = {window}: .* give an even number"):
        windows.from_longformer(window)


def test_a_mistral_window_without_the_token_is_refused():
    with pytest.raises(SeqmemError, match="sliding_window = 0"):
        windows.from_mistral(0)

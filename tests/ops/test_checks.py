"""Operands that do not fit together are refused before a kernel reads them as raw memory."""

import pytest
import torch

from seqmem.errors import SeqmemError
from seqmem.ops import Band, Dense, bind

OPS = bind("pytorch")
BAND = Band(2)


def zeros(*shape: int) -> torch.Tensor:
    return torch.zeros(shape)


@pytest.mark.parametrize("shape", [(1, 5, 2, 4), (2, 5, 1, 4), (2, 5, 2, 3)])
def test_dense_keys_of_another_batch_head_or_width(shape: tuple[int, ...]):
    with pytest.raises(SeqmemError, match="same batch, heads and width"):
        OPS.attend(zeros(2, 3, 2, 4), zeros(*shape), zeros(*shape), Dense())


@pytest.mark.parametrize("shape", [(1, 5, 2, 4), (2, 5, 1, 4), (2, 5, 4)])
def test_weights_of_other_values(shape: tuple[int, ...]):
    with pytest.raises(SeqmemError, match="batch, heads or time differ"):
        OPS.band_pv(zeros(2, 3, 2, 3), zeros(*shape), BAND)
    with pytest.raises(SeqmemError, match="batch, heads or time differ"):
        OPS.band_pv_t(zeros(2, 3, 2, 3), zeros(*shape), BAND, 5)


def test_more_queries_than_keys():
    with pytest.raises(SeqmemError, match="3 queries but 2 keys"):
        OPS.band_pv(zeros(1, 3, 1, 3), zeros(1, 2, 1, 4), BAND)
    with pytest.raises(SeqmemError, match="3 queries but 2 keys"):
        OPS.band_pv_t(zeros(1, 3, 1, 3), zeros(1, 3, 1, 4), BAND, 2)


def test_operands_on_two_devices():
    q = zeros(1, 3, 1, 4)
    with pytest.raises(SeqmemError, match="bias is on meta and q on cpu"):
        OPS.attend(q, q, q, BAND, bias=torch.zeros(1, 1, 1, 3, device="meta"))
    with pytest.raises(SeqmemError, match="one device"):
        OPS.band_pv(zeros(1, 3, 1, 3), torch.zeros(1, 3, 1, 4, device="meta"), BAND)

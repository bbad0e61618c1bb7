"""Attention dropout by a counter-based hash: the same mask in every backend, recomputed instead of stored.

``row_keys`` mixes (seed, batch row, head) into one 32-bit key; ``keep`` mixes that key with the query's and the key's
index. A kernel needs four multiplications an element and no state. All arithmetic is modulo 2^32; the mixer has the
xor-shift-multiply form with the constants of Wellons' "lowbias32".
"""

from typing import Any

import torch
from torch import Tensor

_MASK = 0xFFFFFFFF
_QUERY_STEP = 0x9E3779B1
_KEY_STEP = 0x85EBCA77


def dropping(probability: float, training: bool, device: torch.device) -> dict[str, Any]:
    """``dropout`` and a fresh ``seed`` for :meth:`seqmem.ops.Ops.attend`; nothing where nothing is dropped."""
    if not (training and probability):
        return {}
    return {"dropout": probability, "seed": torch.randint(2**62, (), device=device)}


def mix(x: Tensor) -> Tensor:
    """Scramble 32-bit integers held in int64."""
    x = (x ^ (x >> 16)) * 0x7FEB352D & _MASK
    x = (x ^ (x >> 15)) * 0x846CA68B & _MASK
    return x ^ (x >> 16)


def row_keys(seed: int | Tensor, batch_size: int, num_heads: int, device: torch.device | str) -> Tensor:
    """One 32-bit key for each (batch row, head), int64 ``[B, H]``; ``seed`` is an integer or a 0-d int64 tensor."""
    seed = torch.as_tensor(seed, dtype=torch.int64, device=device)
    rows = torch.arange(1, batch_size * num_heads + 1, device=device).view(batch_size, num_heads)
    return mix(mix(rows * _QUERY_STEP + seed & _MASK) ^ (seed >> 32 & _MASK))


def keep(keys: Tensor, queries: Tensor, key_positions: Tensor, probability: float) -> Tensor:
    """Which probabilities survive.

    Args:
        keys: int64 ``[...]`` from :func:`row_keys`, broadcastable against the rest.
        queries: int64 query indices in ``[0, T)``.
        key_positions: int64 key indices in ``[0, S)``.
        probability: chance to be dropped.

    Returns:
        bool of the broadcast shape.
    """
    row = mix(keys + queries * _QUERY_STEP & _MASK)
    return mix(row + key_positions * _KEY_STEP & _MASK) >= int(probability * 2**32)

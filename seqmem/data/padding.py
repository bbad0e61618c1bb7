"""Rows of different lengths as one tensor."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor


def padded(rows: Sequence[np.ndarray], pad: int) -> tuple[Int[Tensor, "B T"], Bool[Tensor, "B T"]]:
    """Rows of ids filled up with ``pad`` to the longest, and which places are theirs."""
    lengths = np.array([len(row) for row in rows])
    valid = np.arange(lengths.max()) < lengths[:, None]
    ids = np.full(valid.shape, pad, dtype=np.int64)
    ids[valid] = np.concatenate(rows)
    return torch.from_numpy(ids), torch.from_numpy(valid)

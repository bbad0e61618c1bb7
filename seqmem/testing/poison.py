"""NaN poisoning: what a kernel leaves unwritten shows."""

from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

import torch
from torch import Tensor


@contextmanager
def poisoned_memory() -> Iterator[None]:
    """Within, uninitialised floating-point memory that Python code asks torch for is full of NaN."""

    def filled(make):
        def poisoned(*args, **kwargs):
            tensor = make(*args, **kwargs)
            return tensor.fill_(torch.nan) if tensor.is_floating_point() else tensor

        return poisoned

    with (
        patch.object(torch, "empty", filled(torch.empty)),
        patch.object(torch, "empty_like", filled(torch.empty_like)),
        patch.object(torch, "empty_strided", filled(torch.empty_strided)),
        patch.object(Tensor, "new_empty", filled(Tensor.new_empty)),
    ):
        yield

"""Operations under ``torch.autocast``: it chooses the dtype of what is multiplied, and nothing inside an operation."""

from contextlib import AbstractContextManager, nullcontext
from typing import TypeVar

import torch
from torch import Tensor

OptionalTensor = TypeVar("OptionalTensor", Tensor, Tensor | None)


def lowered(operand: OptionalTensor) -> OptionalTensor:
    """The operand of a product in autocast's dtype where autocast is on; float64 stays, as torch has it."""
    if operand is None or operand.dtype == torch.float64 or not _is_on(operand.device.type):
        return operand
    return operand.to(torch.get_autocast_dtype(operand.device.type))


def suspended(like: Tensor) -> AbstractContextManager:
    """While entered, products have the dtype of their operands, so that sums in float32 are just that.

    Args:
        like: on the device that computes.
    """
    kind = like.device.type
    return torch.autocast(kind, enabled=False) if _is_on(kind) else nullcontext()


def _is_on(kind: str) -> bool:
    # Meta tensors may not be asked, and torch 2.11 cannot compile torch.amp.is_autocast_available.
    return kind != "meta" and torch.is_autocast_enabled(kind)

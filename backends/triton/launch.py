"""From operands to a running kernel: its constants, its tiles, its grid."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from seqmem.ops.pattern import Band, Gather, Pattern
from triton import cdiv

from .form import Form, padded
from .operands import Sizes
from .tiles import Tiles, tiles_for


@dataclass(frozen=True)
class Launch:
    """A kernel with its form, ready to be called on a grid."""

    kernel: Any
    form: Form
    tiles: Tiles

    @classmethod
    def of(
        cls,
        kernel: Any,
        pattern: Pattern,
        dtype: torch.dtype,
        width: int,
        value_width: int,
        has_positions: bool = False,
    ) -> "Launch":
        """The kernel's form for operands of a type and widths."""
        tiles = tiles_for(kernel.__name__, dtype.itemsize, padded(max(width, value_width)), has_positions)
        causal = isinstance(pattern, Gather) and pattern.causal
        dilation = pattern.dilation if isinstance(pattern, Band) else 1
        kind = type(pattern).__name__.lower()
        form = Form(kind, causal, dilation, width, value_width, tiles.queries, tiles.keys, precision())
        return cls(kernel, form, tiles)

    def __call__(self, grid: tuple[int, ...], *arguments: Any) -> None:
        """Queue the kernel."""
        arguments = tuple(argument.odd() if isinstance(argument, Sizes) else argument for argument in arguments)
        queue(self.kernel, grid, arguments, {"form": self.form}, self.tiles.warps, self.tiles.stages)


def queue(
    kernel: Any, grid: tuple[int, ...], arguments: Sequence[Any], constants: dict[str, Any], warps: int, stages: int = 2
) -> None:
    """Start a kernel on the current stream of the device of its operands; nothing if the grid is empty."""
    if min(grid) == 0:
        return
    with torch.cuda.device_of(first_tensor(arguments)):
        kernel[grid](*arguments, **constants, num_warps=warps, num_stages=stages, enable_fp_fusion=True)


def precision() -> str:
    """How products of float32 are computed: exactly, unless ``torch.set_float32_matmul_precision`` allows tf32."""
    return "ieee" if torch.get_float32_matmul_precision() == "highest" else "tf32"


def num_blocks(length: int, size: int, dilation: int) -> int:
    """Programs for blocks of ``size`` positions, each of them within a line."""
    return cdiv(cdiv(length, dilation), size) * dilation


def first_tensor(arguments: Sequence[Any]) -> Tensor | None:
    """Depth first."""
    for argument in arguments:
        if isinstance(argument, Tensor):
            return argument
        if isinstance(argument, tuple) and (found := first_tensor(argument)) is not None:
            return found
    return None

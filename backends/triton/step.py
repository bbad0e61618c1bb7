"""A step of generation as one CUDA graph: the price of a launch for all layers together."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from seqmem.ops.step import AttentionLayer, Distances, StepBuffers, StepProgram
from triton import cdiv, next_power_of_2

from . import graph, launch
from .form import padded
from .kernels.attend_one import attend_one, merge_parts, put

KEYS, PART, WARPS = 64, 256, 4
"""Columns that a program reads at a time, and in all."""


class Terms(NamedTuple):
    """:class:`Distances` as a kernel takes them, contiguous."""

    r: Tensor
    u: Tensor
    v: Tensor


class OneSizes(NamedTuple):
    """Of an attention of one query; ``num_distances`` is the length of r."""

    num_columns: int
    num_keys: int
    num_heads: int
    num_distances: int
    scale: float


@dataclass(frozen=True)
class OneForm:
    """The constants of the kernel.

    Args:
        restricted: some columns may be off.
        keys: columns at a time, of the ``part`` that a program reads.
    """

    width: int
    restricted: bool
    keys: int = KEYS
    part: int = PART

    @property
    def padded_width(self) -> int:
        return padded(self.width)


Layout = tuple[tuple[int, bool, int | None], ...]
"""For each layer the columns of its keys, whether some may be off, and the columns of its inputs, if they are kept."""


class GraphStep:
    """A :class:`seqmem.ops.step.Step` captured once for each layout of buffers, which it follows as they move."""

    def __init__(self, program: StepProgram):
        self._program = program
        self._recordings: dict[tuple[torch.Size, Layout], Recording] = {}
        self._buffers: StepBuffers | None = None

    def __call__(self, x: Tensor, buffers: StepBuffers) -> Tensor:
        """See :data:`seqmem.ops.step.Step`."""
        if buffers is not self._buffers:
            self._buffers = buffers
            key = x.shape, layout_of(buffers)
            if key not in self._recordings:
                self._recordings[key] = Recording(self._program, x, key[1])
            self._recording = self._recordings[key]
            self._recording.follow(buffers)
        hidden = self._recording(x, buffers.room)
        buffers.room -= 1
        return hidden


def layout_of(buffers: StepBuffers) -> Layout:
    """What a recording is made for."""
    state = zip(buffers.keys_values, buffers.valid, buffers.inputs, strict=True)
    return tuple(
        (keys_values.shape[1], valid is not None, None if inputs is None else inputs.shape[1])
        for keys_values, valid, inputs in state
    )


class Recording:
    """All launches of a step, for buffers of a layout.

    Args:
        like: a token's vectors ``[B, d]``.
    """

    def __init__(self, program: StepProgram, like: Tensor, layout: Layout):
        self._program = program
        self._layout = layout
        self._terms = [_contiguous(layer.distances) for layer in program.layers]
        self._x = torch.empty_like(like)
        self._room = like.new_zeros((), dtype=torch.int32)
        self._table = like.new_zeros(len(layout), 3, dtype=torch.int64)
        self._run: Callable[[], Tensor] | None = None

    def follow(self, buffers: StepBuffers) -> None:
        """Go on in these buffers, which the caller keeps alive."""
        state = zip(buffers.keys_values, buffers.valid, buffers.inputs, strict=True)
        self._table.copy_(torch.tensor([[_address(tensor) for tensor in layer] for layer in state]))

    def __call__(self, x: Tensor, room: int) -> Tensor:
        self._x.copy_(x)
        self._room.fill_(room)
        if self._run is None:
            self._run = graph.captured(self._through_layers, x.device)
        return self._run().clone()

    def _through_layers(self) -> Tensor:
        x = self._x
        for index, layer in enumerate(self._program.layers):
            self._keep_input(index, x)
            x = layer(x, partial(self._attended, index, layer))
        return x if self._program.final_norm is None else self._program.final_norm(x)

    def _keep_input(self, index: int, x: Tensor) -> None:
        num_columns = self._layout[index][2]
        if num_columns is not None:
            sizes = {"WIDTH": x.shape[1], "PADDED": next_power_of_2(x.shape[1])}
            launch.queue(put, (len(x),), (self._table[index, 2:], x, self._room, num_columns), sizes, WARPS)

    def _attended(self, index: int, layer: AttentionLayer, projected: Tensor) -> Tensor:
        (num_heads, width), terms = layer.heads, self._terms[index]
        num_columns, restricted, _ = self._layout[index]
        splits, programs = cdiv(num_columns, PART), len(projected) * num_heads
        parts = projected.new_empty(programs, splits, width, dtype=torch.float32)
        stats = projected.new_empty(programs, splits, 2, dtype=torch.float32)
        out = projected.new_empty(len(projected), num_heads * width)
        num_distances = 0 if terms is None else len(terms.r)
        sizes = OneSizes(num_columns, layer.num_keys, num_heads, num_distances, width**-0.5)
        arguments = (parts, stats, projected, self._table[index], self._room, terms, sizes)
        form = {"form": OneForm(width, restricted)}
        launch.queue(attend_one, (programs, splits), arguments, form, WARPS)
        form |= {"SPLITS": splits, "PADDED_SPLITS": next_power_of_2(splits)}
        launch.queue(merge_parts, (programs,), (out, parts, stats), form, WARPS)
        return out


def _contiguous(distances: Distances | None) -> Terms | None:
    if distances is None:
        return None
    return Terms(*(tensor.contiguous() for tensor in (distances.r, distances.u, distances.v)))


def _address(tensor: Tensor | None) -> int:
    if tensor is None:
        return 0
    assert tensor.is_contiguous()
    return tensor.data_ptr()

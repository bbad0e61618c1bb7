"""Compile the backend's kernels for GPUs that are not here, as a process of its own: ``triton_ahead.py 80 90``.

The host code runs as always, on the CPU, up to the launch; there each kernel is compiled for the architecture that was
asked for, and a line of JSON says what became of it.
"""

import json
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from functools import partial
from typing import Any
from unittest.mock import patch

import torch
from seqmem.backends.triton import backend, launch
from seqmem.backends.triton.ahead import compiled, usage
from seqmem.backends.triton.step import GraphStep

from seqmem.ops import Band, Dense
from seqmem.ops.backend import Attention
from seqmem.ops.dropout import row_keys
from seqmem.ops.pattern import Gather, Pattern
from seqmem.ops.step import Affine, AttentionLayer, Distances, Norm, StepBuffers, StepProgram

SEEN: set[str] = set()


def compile_instead(
    architecture: int,
    kernel: Any,
    grid: tuple[int, ...],
    arguments: Sequence[Any],
    constants: dict[str, Any],
    *options: int,
) -> None:
    """In place of :func:`seqmem.backends.triton.launch.queue`."""
    found = compiled(architecture, kernel, grid, arguments, constants, *options)
    if found.hash in SEEN:
        return
    SEEN.add(found.hash)
    tensor = launch.first_tensor(arguments)
    about = {
        "kernel": kernel.__name__,
        "architecture": architecture,
        "constants": str(constants),
        "queries": getattr(constants.get("form"), "queries", 0),
        "dtype": str(tensor.dtype if tensor is not None else None),
        "tensor_cores": sorted(set(re.findall(r"\b(wgmma|mma)\b", found.asm["ptx"]))),
        **asdict(usage(found)),
    }
    print(json.dumps(about), flush=True)


def calls() -> Iterator[Attention]:
    """One for every kind of kernel, and for the widths and types that are used most."""
    yield attention(Band(255), torch.bfloat16, 64)
    yield attention(Band(255), torch.bfloat16, 128)
    yield attention(Band(255), torch.bfloat16, 64, rel=True)
    yield attention(Dense(), torch.float16, 80, others=True)
    yield attention(Gather(torch.arange(64).expand(2, -1), causal=True), torch.bfloat16, 64)
    yield attention(Band(100, 100, 2), torch.float32, 32, rel=True, others=True)
    yield replace(attention(Band(255), torch.bfloat16, 64), bias=torch.zeros(1, 256, 2, 256), bias_needs_grad=True)


def attention(pattern: Pattern, dtype: torch.dtype, width: int, rel: bool = False, others: bool = False) -> Attention:
    q, k, v = (torch.zeros(2, 256, 2, width, dtype=dtype) for _ in range(3))
    qr = r = bias = valid = keys = None
    columns = pattern.num_columns if isinstance(pattern, Band) else 256
    if rel:
        qr, r = q, torch.zeros(columns, 2, width, dtype=dtype)
    if others:
        bias = torch.zeros(1, 1, 2, columns)
        valid, keys = torch.ones(2, 256, dtype=torch.bool), row_keys(1, 2, 2, "cpu")
    return Attention(q, k, v, pattern, 0.125, bias, qr, r, valid, 0.1 if others else 0.0, keys, others)


def step() -> None:
    """A layer of generation with relative positions, keys that may be off, and inputs that are kept."""

    def affine(outputs: int, inputs: int) -> Affine:
        return Affine(torch.zeros(outputs, inputs, dtype=torch.bfloat16))

    def zeros(*shape: int) -> torch.Tensor:
        return torch.zeros(shape, dtype=torch.bfloat16)

    norm, distances = Norm(zeros(128), zeros(128), 1e-5), Distances(zeros(600, 2, 64), zeros(2, 64), zeros(2, 64))
    layers = affine(384, 128), affine(128, 128), affine(256, 128), affine(128, 256)
    layer = AttentionLayer(*layers, norm, norm, (2, 64), 600, True, distances)
    buffers = StepBuffers([zeros(1, 600, 2, 2, 64)], [torch.ones(1, 600, dtype=torch.bool)], [zeros(1, 600, 128)], 5)
    GraphStep(StepProgram((layer,)))(zeros(1, 128), buffers)


def launch_everything() -> None:
    step()
    kernels = backend.TritonBackend()
    for call in calls():
        out, lse = kernels.attend(call)
        kernels.attend_backward(call, out, lse, out, lse)
    q, band = torch.zeros(1, 256, 2, 64, dtype=torch.bfloat16), Band(127)
    p = kernels.band_qk(q, q, band)
    kernels.band_pv(p, q, band)
    kernels.band_pv_t(p, q, band, 256)
    x = torch.zeros(1, 256, 128, dtype=torch.bfloat16).requires_grad_()
    kernels.scan(x, x)[0].sum().backward()
    kernels.causal_conv1d(x, torch.zeros(128, 1, 4, dtype=torch.bfloat16), groups=128)[0].sum().backward()
    kernels.causal_conv1d(x, torch.zeros(128, 128, 2, dtype=torch.bfloat16))[0].sum().backward()
    decay = torch.zeros(1, 256, 2).requires_grad_()
    kernels.linear_attention(q, q, q, decay)[0].sum().backward()


for architecture in map(int, sys.argv[1:]):
    with patch.object(launch, "queue", partial(compile_instead, architecture)):
        launch_everything()

"""The three band operations on a GPU: compiled for it once, kept in the user's cache, launched through the driver."""

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from seqmem.errors import SeqmemError
from seqmem.ops.backend import accumulation_dtype
from seqmem.ops.cache import checksum, fetch
from seqmem.ops.pattern import Band

from . import nvidia
from .cuda_tiles import BandKernel, num_steps, num_tiles
from .installed import build_id

DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)
MOST_NUMBERS = 2**31 - 1
MOST_ROWS = 65_535
"""Kernels count in 32 bits, and a grid's third dimension has 16: larger batches take several launches."""

SOURCES = ("adapter.py", "cuda_schedule.py", "cuda_tiles.py", "definitions.py", "nvidia.py")


def band_qk(q: Tensor, k: Tensor, band: Band) -> Tensor:
    """``q [B, T, H, D], k [B, S, H, D] -> [B, T, H, C]`` unscaled, 0 outside the keys."""
    out = q.new_empty(*q.shape[:3], band.num_columns, dtype=accumulation_dtype(q.dtype))
    _run(_kernel("band_qk", k), band, band.left, q.shape[1], k.shape[1], q=q, k=k, out=out)
    return out


def band_pv(p: Tensor, v: Tensor, band: Band) -> Tensor:
    """``p [B, T, H, C], v [B, S, H, E] -> [B, T, H, E]``; p outside the keys is ignored."""
    out = v.new_empty(*p.shape[:3], v.shape[3])
    p = p.to(accumulation_dtype(v.dtype))
    _run(_kernel("band_pv", v), band, band.left, p.shape[1], v.shape[1], p=p, v=v, out=out)
    return out


def band_pv_t(p: Tensor, g: Tensor, band: Band, num_keys: int) -> Tensor:
    """``p [B, T, H, C], g [B, T, H, E] -> [B, S, H, E]``; p outside the keys is ignored."""
    out = g.new_empty(g.shape[0], num_keys, *g.shape[2:])
    p = p.to(accumulation_dtype(g.dtype))
    _run(_kernel("band_pv_t", g), band, band.right, p.shape[1], num_keys, p=p, g=g, out=out)
    return out


def cubin(kernel: BandKernel, arch: str) -> bytes:
    """A kernel's machine code, from the cache or compiled; needs no GPU."""
    sources = (Path(__file__).with_name(name).read_bytes() for name in SOURCES)
    key = checksum(repr(kernel), arch, build_id(), nvidia.compiler_version(), *sources)
    return fetch(f"{kernel.op}-{arch}-{key}.cubin", lambda: _compiled(kernel, arch)).read_bytes()


def _compiled(kernel: BandKernel, arch: str) -> bytes:
    from .cuda_schedule import source  # only here is tvm imported

    return nvidia.compile_cubin(source(kernel, arch), arch)[0]


@cache
def _function(kernel: BandKernel, device: int) -> Any:
    major, minor = torch.cuda.get_device_capability(device)
    return nvidia.load(cubin(kernel, f"sm_{major}{minor}"), kernel.symbol)


def _kernel(op: str, operand: Tensor) -> BandKernel:
    return BandKernel(op, str(operand.dtype).removeprefix("torch."), operand.shape[3])


def _run(kernel: BandKernel, band: Band, first: int, num_queries: int, num_keys: int, **tensors: Tensor) -> None:
    """Fill ``tensors["out"]``. A kernel's parameters are the tensors, then the sizes, each in order of their names."""
    out = tensors["out"]
    if out.numel() == 0:
        return
    num_heads, tiles = out.shape[2], num_tiles(out.shape[1], band.dilation)
    sizes = {
        "C": band.num_columns,
        "H": num_heads,
        "N": num_queries,
        "S": num_keys,
        "dilation": band.dilation,
        "first": first,
        "steps": num_steps(band.num_columns),
        "tiles": tiles,
    }
    with torch.cuda.device(out.device):
        function = _function(kernel, out.device.index)
        stream = torch.cuda.current_stream().cuda_stream
        for rows in _batches([tensors[name] for name in sorted(tensors)]):
            given = sizes | {"B": len(rows[0])}
            pointers = [tensor.data_ptr() for tensor in rows]
            grid = (tiles, num_heads, given["B"])
            nvidia.launch(function, grid, kernel.num_threads, stream, pointers, [given[name] for name in sorted(given)])


def _batches(tensors: list[Tensor]) -> Iterator[tuple[Tensor, ...]]:
    """Rows of the batch, contiguous, as many at a time as a launch takes."""
    longest = max(tensor[0].numel() for tensor in tensors)
    if longest > MOST_NUMBERS:
        raise SeqmemError(f"a row of the batch has {longest:,} numbers in one tensor, {MOST_NUMBERS:,} at most")
    num_rows = min(MOST_NUMBERS // max(longest, 1), MOST_ROWS)
    yield from zip(*(tensor.contiguous().split(num_rows) for tensor in tensors), strict=True)

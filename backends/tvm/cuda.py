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

DTYPES = (torch.float32, torch.float64, torch.float16)
MOST_NUMBERS = 2**31 - 1
MOST_BLOCKS = 65_535
"""Kernels count in 32 bits, and a grid's second and third dimension have 16: longer batches take several launches."""

SOURCES = ("adapter.py", "cuda_tiles.py", "definitions.py", "cuda_schedule.py", "nvidia.py")


def band_qk(q: Tensor, k: Tensor, band: Band) -> Tensor:
    """``q [B, T, H, D], k [B, S, H, D] -> [B, T, H, C]`` unscaled, 0 outside the keys."""
    out = q.new_empty(*q.shape[:3], band.num_columns, dtype=accumulation_dtype(q.dtype))
    _run("band_qk", q.shape[3], band, band.left, {"k": k, "out": out, "q": q}, q.shape[1], k.shape[1])
    return out


def band_pv(p: Tensor, v: Tensor, band: Band) -> Tensor:
    """``p [B, T, H, C], v [B, S, H, E] -> [B, T, H, E]``; p outside the keys is ignored."""
    out = v.new_empty(*p.shape[:3], v.shape[3])
    weights = p.to(accumulation_dtype(v.dtype))
    _run("band_pv", v.shape[3], band, band.left, {"out": out, "p": weights, "v": v}, p.shape[1], v.shape[1])
    return out


def band_pv_t(p: Tensor, g: Tensor, band: Band, num_keys: int) -> Tensor:
    """``p [B, T, H, C], g [B, T, H, E] -> [B, S, H, E]``; p outside the keys is ignored."""
    out = g.new_empty(g.shape[0], num_keys, *g.shape[2:])
    weights = p.to(accumulation_dtype(g.dtype))
    _run("band_pv_t", g.shape[3], band, band.right, {"g": g, "out": out, "p": weights}, p.shape[1], num_keys)
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


def _run(
    op: str, width: int, band: Band, first: int, tensors: dict[str, Tensor], num_queries: int, num_keys: int
) -> None:
    """Fill ``tensors["out"]``, all of whose rows the kernel writes; tensors are in the order of its parameters."""
    out = tensors["out"]
    if out.numel() == 0:
        return
    dtype = next(tensor.dtype for name, tensor in tensors.items() if name in "kvg")
    kernel = BandKernel(op, str(dtype).removeprefix("torch."), width)
    num_heads, num_columns, tiles = out.shape[2], band.num_columns, num_tiles(out.shape[1], band.dilation)
    with torch.cuda.device(out.device):
        function = _function(kernel, out.device.index)
        stream = torch.cuda.current_stream().cuda_stream
        for part in _batches(list(tensors.values())):
            sizes = (len(part[0]), num_columns, num_heads, num_queries, num_keys)
            rest = (band.dilation, first, num_steps(num_columns), tiles)
            grid = (tiles, num_heads, len(part[0]))
            nvidia.launch(function, grid, kernel.num_threads, stream, [t.data_ptr() for t in part], (*sizes, *rest))


def _batches(tensors: list[Tensor]) -> Iterator[tuple[Tensor, ...]]:
    """Rows of the batch, as many at a time as a launch takes."""
    longest = max(tensor[0].numel() for tensor in tensors)
    if longest > MOST_NUMBERS:
        raise SeqmemError(
            f"a row of the batch has {longest:,} numbers in one tensor; give fewer heads or a shorter window"
        )
    rows = min(MOST_NUMBERS // max(longest, 1), MOST_BLOCKS)
    yield from zip(*(tensor.contiguous().split(rows) for tensor in tensors), strict=True)

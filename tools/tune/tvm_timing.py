"""Seconds of a call forward and backward, by tiles."""

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import torch
from seqmem.backends.tvm.backend import TVMBackend
from seqmem.backends.tvm.tiles import Tiles
from tvm_candidates import Key

from seqmem.ops import Band
from seqmem.ops.backend import Attention
from seqmem.report.speed import take_turns

NUM_HEADS = 8


def turns_of(key: Key, length: int) -> Callable[[Sequence[Tiles], int], Mapping[Tiles, float]]:
    """How :func:`search.search` times tiles: causal attention of one batch row, forward and backward."""
    torch.manual_seed(0)
    shape = (1, length, NUM_HEADS, key.width)
    q, k, v, dout = (torch.randn(shape, dtype=getattr(torch, key.dtype)) for _ in range(4))
    call = Attention(q, k, v, Band(key.window - 1), key.width**-0.5)
    dlse = torch.zeros(shape[:3], dtype=q.dtype)

    def both_ways(backend: TVMBackend) -> None:
        out, lse = backend.attend(call)
        backend.attend_backward(call, out, lse, dout, dlse)

    def time_in_turns(candidates: Sequence[Tiles], rounds: int) -> Mapping[Tiles, float]:
        with ThreadPoolExecutor(os.cpu_count()) as pool:  # kernels compile in processes of their own
            list(pool.map(both_ways, map(TVMBackend, candidates)))
        seconds = take_turns({str(tiles): partial(both_ways, TVMBackend(tiles)) for tiles in candidates}, rounds)
        return {tiles: seconds[str(tiles)] for tiles in candidates}

    return time_in_turns

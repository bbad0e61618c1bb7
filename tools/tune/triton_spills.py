"""Tiles of a kernel by what the compiler says of registers, for a GPU that is not here."""

from seqmem.backends.triton.ahead import SHARED_BYTES, compiled, usage
from seqmem.backends.triton.tiles import Tiles
from triton_launch import Problem, Workload
from triton_preferred import preferred
from triton_rows import Key


def least_spilling(architecture: int, problem: Problem, key: Key) -> tuple[Tiles, str] | None:
    """The first of the preferred tiles that spill nothing on a GPU, else those that spill least on all GPUs together.

    Only tiles that fit every GPU count, None if none do. With them comes what they spill.
    """
    spilled = {}
    for tiles in preferred(key):
        queued = Workload(key, problem, "meta").queued(tiles)
        usages = {gpu: usage(compiled(gpu, *queued)) for gpu in {architecture, *SHARED_BYTES}}
        if any(usages[gpu].shared > limit for gpu, limit in SHARED_BYTES.items()):
            continue
        if usages[architecture].stack == 0:
            return tiles, "spills nothing"
        spilled[tiles] = sum(taken.stack for taken in usages.values())
    if not spilled:
        return None
    best = min(spilled, key=lambda tiles: spilled[tiles])
    return best, f"spills {spilled[best]} bytes a thread on all GPUs together"

"""The dropout mask of :mod:`seqmem.ops.dropout`, in 32-bit arithmetic."""

import triton
import triton.language as tl


@triton.jit
def mix(x):
    """Scramble uint32."""
    x = (x ^ (x >> 16)) * 0x7FEB352D
    x = (x ^ (x >> 15)) * 0x846CA68B
    return x ^ (x >> 16)


@triton.jit
def is_kept(row_key, query, key, threshold):
    """Which probabilities survive, by positions that broadcast against each other."""
    row = mix(row_key.to(tl.uint32) + query.to(tl.uint32) * 0x9E3779B1)
    return mix(row + key.to(tl.uint32) * 0x85EBCA77) >= threshold.to(tl.uint32)

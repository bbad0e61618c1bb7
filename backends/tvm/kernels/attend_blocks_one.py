"""Fused attention of one query to listed blocks: that along a band, along a walk over runs of keys."""

from ..arguments import ATTEND_BLOCKS
from ..spec import Spec
from .attend_one import attending_one
from .run_walk import run_walks


def define(spec: Spec):
    """``out, lse`` of :class:`seqmem.ops.backend.Attention` for T = 1, on Blocks, without dropout."""
    return attending_one(spec, ATTEND_BLOCKS, run_walks)

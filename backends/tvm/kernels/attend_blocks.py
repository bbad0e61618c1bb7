"""Fused attention to listed blocks, forward: that of a band, along a walk over runs of keys."""

from ..arguments import ATTEND_BLOCKS
from ..spec import Spec
from .attend import attending
from .run_walk import run_walks


def define(spec: Spec):
    """``out, lse`` of :class:`seqmem.ops.backend.Attention` for Blocks."""
    return attending(spec, ATTEND_BLOCKS, run_walks)

"""Fused attention to listed blocks, backward: that of a band, along a walk over runs of keys.

A task owns whole sequences and meets the queries of each in order, so it alone adds to dk and dv, and needs no lists of
the queries that see a key.
"""

from ..arguments import ATTEND_BLOCKS_BACKWARD
from ..spec import Spec
from .attend_backward import differentiating
from .run_walk import run_walks


def define(spec: Spec):
    """Gradients of :class:`seqmem.ops.backend.Attention` for Blocks."""
    return differentiating(spec, ATTEND_BLOCKS_BACKWARD, run_walks)

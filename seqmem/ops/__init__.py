"""The narrow waist between models and backends.

``ops = bind("pytorch")`` gives :class:`Ops`, the operations a layer may call; a backend gives three band kernels and
whatever else it does better than plain PyTorch.
"""

from seqmem.ops.backend import Attention, AttentionBackend, BackendUnsupported, Gradients
from seqmem.ops.loop import ConvolutionProgram, GatedLayer, Loop, Queues
from seqmem.ops.merge import check_disjoint, merge
from seqmem.ops.ops import Ops, bind
from seqmem.ops.pattern import Band, Blocks, Dense, Gather
from seqmem.ops.step import AttendingStep, Step, StepProgram

__all__ = [
    "AttendingStep",
    "Attention",
    "AttentionBackend",
    "BackendUnsupported",
    "Band",
    "Blocks",
    "ConvolutionProgram",
    "Dense",
    "GatedLayer",
    "Gather",
    "Gradients",
    "Loop",
    "Ops",
    "Queues",
    "Step",
    "StepProgram",
    "bind",
    "check_disjoint",
    "merge",
]

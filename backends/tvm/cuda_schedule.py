"""From a definition to code for a GPU: one block of threads a tile, operands staged in shared memory."""

from . import definitions
from .adapter import CudaSchedule, cuda_source
from .cuda_tiles import ROWS_EACH, BandKernel

PAD = dict(axis=-2, factor=32, offset=4)
"""Length of a staged row, in numbers: 4 modulo the 32 banks, so that writing columns of it meets fewer conflicts."""


def source(kernel: BandKernel, arch: str) -> str:
    """CUDA source of a kernel for an architecture such as ``"sm_90"``; needs no GPU.

    Its parameters are the pointers in the order of their names, then the integers in the order of theirs.
    """
    definition = getattr(definitions, kernel.op)(kernel.dtype, kernel.sum_dtype, kernel.width)
    return cuda_source(_scheduled(definition, kernel).mod, arch)


def _scheduled(definition, kernel: BandKernel) -> CudaSchedule:
    schedule = CudaSchedule(definition)
    rows, columns, products, store = schedule.get_child_blocks(schedule.get_sblock("root"))
    batch, head, tile, row, column, term = schedule.get_loops(products)
    row_lane, row_each = schedule.split(row, [None, ROWS_EACH])
    step, column_lane, column_each = schedule.split(column, [None, kernel.lanes, kernel.columns_each])
    stage, staged = schedule.split(term, [None, kernel.depth])
    schedule.reorder(step, row_lane, column_lane, stage, staged, row_each, column_each)
    thread = schedule.fuse(row_lane, column_lane)
    for loop, axis in ((batch, "blockIdx.z"), (head, "blockIdx.y"), (tile, "blockIdx.x"), (thread, "threadIdx.x")):
        schedule.bind(loop, axis)
    for loop in (row_each, column_each):
        schedule.unroll(loop)
    schedule.set_scope(products, 0, "local")
    schedule.reverse_compute_at(store, thread)
    for operand in (rows, columns):
        schedule.set_scope(operand, 0, "shared")
        schedule.compute_at(operand, stage)
        schedule.storage_align(operand, 0, **PAD)
        _, reader = schedule.split(schedule.fuse(*schedule.get_loops(operand)[-2:]), [None, kernel.num_threads])
        schedule.bind(reader, "threadIdx.x")
    schedule.decompose_reduction(products, stage)
    return schedule

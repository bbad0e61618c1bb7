"""Reading and writing blocks of rows."""

import triton
import triton.language as tl


@triton.jit
def rows_of(x, place):
    """Where a head's rows of :class:`Rows` ``x`` begin."""
    return x.start + place.batch.to(tl.int64) * x.batch + place.head.to(tl.int64) * x.head


@triton.jit
def block_of(x, place, side, column, WIDTH: tl.constexpr, CHECKED: tl.constexpr):
    """Pointers to columns of rows of ``WIDTH`` numbers, and which may be followed: all columns, unless ``CHECKED``."""
    where = rows_of(x, place) + (side.at.to(tl.int64) * x.row)[:, None] + column[None, :]
    mask = side.exists[:, None]
    if CHECKED:
        mask = mask & (column < WIDTH)[None, :]
    return where, mask


@triton.jit
def load(x, place, side, WIDTH: tl.constexpr, PADDED: tl.constexpr):
    """Rows ``[rows, PADDED]``; 0 where there is nothing."""
    where, mask = block_of(x, place, side, tl.arange(0, PADDED), WIDTH, WIDTH < PADDED)
    return tl.load(where, mask=mask, other=0.0)


@triton.jit
def store(x, place, side, block, WIDTH: tl.constexpr, PADDED: tl.constexpr):
    """Write rows, in the type that ``x`` has."""
    where, mask = block_of(x, place, side, tl.arange(0, PADDED), WIDTH, WIDTH < PADDED)
    tl.store(where, block.to(x.start.dtype.element_ty), mask=mask)


@triton.jit
def load_columns(x, place, side, column, WIDTH: tl.constexpr):
    """Some columns of rows; 0 where there is nothing."""
    where, mask = block_of(x, place, side, column, WIDTH, True)
    return tl.load(where, mask=mask, other=0.0)


@triton.jit
def store_columns(x, place, side, column, block, WIDTH: tl.constexpr):
    """Write some columns of rows, in the type that ``x`` has."""
    where, mask = block_of(x, place, side, column, WIDTH, True)
    tl.store(where, block.to(x.start.dtype.element_ty), mask=mask)


@triton.jit
def load_numbers(x, place, side):
    """Rows of one number, ``[rows]``, as float32; 0 where there is nothing."""
    return tl.load(rows_of(x, place) + side.at.to(tl.int64) * x.row, mask=side.exists, other=0.0).to(tl.float32)


@triton.jit
def store_numbers(x, place, side, numbers):
    """Write rows of one number."""
    where = rows_of(x, place) + side.at.to(tl.int64) * x.row
    tl.store(where, numbers.to(x.start.dtype.element_ty), mask=side.exists)

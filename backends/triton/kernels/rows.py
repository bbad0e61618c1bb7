"""Reading and writing blocks of rows."""

import triton
import triton.language as tl


@triton.jit
def rows_of(x, place):
    """Where a head's rows of :class:`Rows` ``x`` begin."""
    return x.start + place.batch.to(tl.int64) * x.batch + place.head.to(tl.int64) * x.head


@triton.jit
def start_of(x, place, side):
    """Where the row ``side.first`` begins."""
    return rows_of(x, place) + tl.cast(side.first, tl.int64) * x.row


@triton.jit
def block_of(x, place, side, column, WIDTH: tl.constexpr, CHECKED: tl.constexpr):
    """Pointers to columns of rows of ``WIDTH`` numbers, and which may be followed: all columns, unless ``CHECKED``."""
    where = start_of(x, place, side) + ((side.offset * x.row)[:, None] + column[None, :])
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
def number_of(x, length, num_heads, place, side):
    """Where ``x [B, T, H]``, contiguous, has a number for each row."""
    row = tl.cast(place.batch * length + side.first, tl.int64) * num_heads + place.head
    return x + row + side.offset * num_heads


@triton.jit
def load_numbers(x, length, num_heads, place, side):
    """One number a row, as float32; 0 where there is nothing."""
    return tl.load(number_of(x, length, num_heads, place, side), mask=side.exists, other=0.0).to(tl.float32)


@triton.jit
def store_numbers(x, length, num_heads, place, side, numbers):
    """Write one number a row."""
    tl.store(number_of(x, length, num_heads, place, side), numbers.to(x.dtype.element_ty), mask=side.exists)

"""The three band operations as TIR loop nests: what TVM turns into code for a GPU.

Rows of the output that lie ``dilation`` apart are neighbours. A tile is ``ROWS`` neighbours, and what it meets on the
other side of the band lies just as far apart, one after another: a tile's row u and its counterpart x are the pair of
column ``x - u``. So each operation is one matrix product a tile, whatever the dilation, with zeros where a row, a
counterpart or a column does not exist. Numbers that are not finite spread within a tile of a weighted sum, as they do
in any product of dense tiles; those outside the keys are never read.

Legend: B batch, N queries, S keys, H heads, C columns; b, h, n, u, x run over batch, heads, tiles, a tile's rows and
its counterparts, d and e over the widths of keys and values. Inside a block the loops' values have a v in front.
"""

from .adapter import PrimFunc, T
from .cuda_tiles import ROWS


def _position(tile, neighbour, dilation):
    """Where a tile's neighbour is: tiles that follow one another belong to different residues of the dilation."""
    return (T.truncdiv(tile, dilation) * ROWS + neighbour) * dilation + T.truncmod(tile, dilation)


def _within(index, length):
    return T.And(index >= 0, index < length)


@T.inline
def _multiply(rows, columns, products):
    """``products[u, y] = sum_k rows[k, u] * columns[k, y]`` in every tile; the sums have products' dtype."""
    for b, h, n, u, y, k in T.grid(*products.shape, rows.shape[3]):
        with T.sblock("products"):
            vb, vh, vn, vu, vy, vk = T.axis.remap("SSSSSR", [b, h, n, u, y, k])
            with T.init():
                products[vb, vh, vn, vu, vy] = T.cast(0, products.dtype)
            products[vb, vh, vn, vu, vy] += T.cast(rows[vb, vh, vn, vk, vu], products.dtype) * T.cast(
                columns[vb, vh, vn, vk, vy], products.dtype
            )


@T.inline
def _take(columns, source, first, shift, dilation):
    """``columns[x, e] = source[x-th counterpart, e]``, a tile's first one ``first`` neighbours before its first row."""
    for b, h, n, x, e in T.grid(*columns.shape):
        with T.sblock("columns"):
            vb, vh, vn, vx, ve = T.axis.remap("SSSSS", [b, h, n, x, e])
            index = T.meta_var(_position(vn, vx - first, dilation) + shift)
            columns[vb, vh, vn, vx, ve] = T.if_then_else(
                _within(index, source.shape[1]), source[vb, index, vh, ve], T.cast(0, columns.dtype)
            )


@T.inline
def _store(products, out, dilation):
    """``out[u-th row, e] = products[u, e]`` for the rows that exist."""
    for b, h, n, u, e in T.grid(*products.shape):
        with T.sblock("store"):
            vb, vh, vn, vu, ve = T.axis.remap("SSSSS", [b, h, n, u, e])
            row = T.meta_var(_position(vn, vu, dilation))
            if row < out.shape[1]:
                out[vb, row, vh, ve] = T.cast(products[vb, vh, vn, vu, ve], out.dtype)


def band_qk(dtype: str, sum_dtype: str, width: int) -> PrimFunc:
    """``q [B, N, H, width], k [B, S, H, width] -> out [B, N, H, C]``: rows are queries, counterparts keys."""

    @T.prim_func(s_tir=True)
    def band_qk(
        q_: T.handle, k_: T.handle, out_: T.handle, first: T.int32, dilation: T.int32, tiles: T.int32, steps: T.int32
    ):
        B, N, S, H, C = T.int32(), T.int32(), T.int32(), T.int32(), T.int32()
        q = T.match_buffer(q_, (B, N, H, width), dtype)
        k = T.match_buffer(k_, (B, S, H, width), dtype)
        out = T.match_buffer(out_, (B, N, H, C), sum_dtype)
        rows = T.sblock_alloc_buffer((B, H, tiles, width, ROWS), dtype)
        columns = T.sblock_alloc_buffer((B, H, tiles, width, steps * ROWS), dtype)
        products = T.sblock_alloc_buffer((B, H, tiles, ROWS, steps * ROWS), sum_dtype)
        for b, h, n, u, d in T.grid(B, H, tiles, ROWS, width):
            with T.sblock("rows"):
                vb, vh, vn, vu, vd = T.axis.remap("SSSSS", [b, h, n, u, d])
                query = T.meta_var(_position(vn, vu, dilation))
                rows[vb, vh, vn, vd, vu] = T.if_then_else(query < N, q[vb, query, vh, vd], T.cast(0, dtype))
        for b, h, n, x, d in T.grid(B, H, tiles, steps * ROWS, width):
            with T.sblock("columns"):
                vb, vh, vn, vx, vd = T.axis.remap("SSSSS", [b, h, n, x, d])
                key = T.meta_var(_position(vn, vx - first, dilation) + S - N)
                columns[vb, vh, vn, vd, vx] = T.if_then_else(_within(key, S), k[vb, key, vh, vd], T.cast(0, dtype))
        _multiply(rows, columns, products)
        for b, h, n, u, x in T.grid(B, H, tiles, ROWS, steps * ROWS):
            with T.sblock("store"):
                vb, vh, vn, vu, vx = T.axis.remap("SSSSS", [b, h, n, u, x])
                query = T.meta_var(_position(vn, vu, dilation))
                key = T.meta_var(_position(vn, vx - first, dilation) + S - N)
                if T.And(query < N, _within(vx - vu, C)):
                    out[vb, query, vh, vx - vu] = T.if_then_else(
                        _within(key, S), products[vb, vh, vn, vu, vx], T.cast(0, sum_dtype)
                    )

    return band_qk


def band_pv(dtype: str, sum_dtype: str, width: int) -> PrimFunc:
    """``p [B, N, H, C], v [B, S, H, width] -> out [B, N, H, width]``: rows are queries, counterparts keys."""

    @T.prim_func(s_tir=True)
    def band_pv(
        p_: T.handle, v_: T.handle, out_: T.handle, first: T.int32, dilation: T.int32, tiles: T.int32, steps: T.int32
    ):
        B, N, S, H, C = T.int32(), T.int32(), T.int32(), T.int32(), T.int32()
        p = T.match_buffer(p_, (B, N, H, C), sum_dtype)
        v = T.match_buffer(v_, (B, S, H, width), dtype)
        out = T.match_buffer(out_, (B, N, H, width), dtype)
        rows = T.sblock_alloc_buffer((B, H, tiles, steps * ROWS, ROWS), sum_dtype)
        columns = T.sblock_alloc_buffer((B, H, tiles, steps * ROWS, width), dtype)
        products = T.sblock_alloc_buffer((B, H, tiles, ROWS, width), sum_dtype)
        for b, h, n, u, x in T.grid(B, H, tiles, ROWS, steps * ROWS):
            with T.sblock("rows"):
                vb, vh, vn, vu, vx = T.axis.remap("SSSSS", [b, h, n, u, x])
                query = T.meta_var(_position(vn, vu, dilation))
                key = T.meta_var(_position(vn, vx - first, dilation) + S - N)
                rows[vb, vh, vn, vx, vu] = T.if_then_else(
                    T.And(query < N, T.And(_within(key, S), _within(vx - vu, C))),
                    p[vb, query, vh, vx - vu],
                    T.cast(0, sum_dtype),
                )
        _take(columns, v, first, S - N, dilation)
        _multiply(rows, columns, products)
        _store(products, out, dilation)

    return band_pv


def band_pv_t(dtype: str, sum_dtype: str, width: int) -> PrimFunc:
    """``p [B, N, H, C], g [B, N, H, width] -> out [B, S, H, width]``: rows are keys, counterparts queries.

    Seen from a key the band is mirrored: its first counterpart sees it in the last column.
    """

    @T.prim_func(s_tir=True)
    def band_pv_t(
        p_: T.handle, g_: T.handle, out_: T.handle, first: T.int32, dilation: T.int32, tiles: T.int32, steps: T.int32
    ):
        B, N, S, H, C = T.int32(), T.int32(), T.int32(), T.int32(), T.int32()
        p = T.match_buffer(p_, (B, N, H, C), sum_dtype)
        g = T.match_buffer(g_, (B, N, H, width), dtype)
        out = T.match_buffer(out_, (B, S, H, width), dtype)
        rows = T.sblock_alloc_buffer((B, H, tiles, steps * ROWS, ROWS), sum_dtype)
        columns = T.sblock_alloc_buffer((B, H, tiles, steps * ROWS, width), dtype)
        products = T.sblock_alloc_buffer((B, H, tiles, ROWS, width), sum_dtype)
        for b, h, n, x, u in T.grid(B, H, tiles, steps * ROWS, ROWS):
            with T.sblock("rows"):
                vb, vh, vn, vx, vu = T.axis.remap("SSSSS", [b, h, n, x, u])
                query = T.meta_var(_position(vn, vx - first, dilation) + N - S)
                rows[vb, vh, vn, vx, vu] = T.if_then_else(
                    T.And(_within(query, N), _within(vx - vu, C)),
                    p[vb, query, vh, C - 1 - (vx - vu)],
                    T.cast(0, sum_dtype),
                )
        _take(columns, g, first, N - S, dilation)
        _multiply(rows, columns, products)
        _store(products, out, dilation)

    return band_pv_t

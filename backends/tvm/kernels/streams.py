"""Products with a few rows, one a stream, whose sums stay in registers while the weights go by once."""

from types import SimpleNamespace

from ..adapter import T
from ..spec import LoopSpec
from .blocks import constant


def row_statements(spec: LoopSpec) -> SimpleNamespace:
    """The statements a generation loop is composed of. Rows lie ``_row`` apart and begin with whole vectors."""
    dtype, width, streams = spec.dtype, spec.lanes, spec.streams
    zero = constant(dtype, 0.0)

    @T.inline
    def tile(c, c_at, c_row, a, a_at, a_row, a_group, groups, length, w, w_at, columns):
        vectors = T.meta_var(columns // width)
        sums = T.alloc_buffer((streams * vectors * width,), dtype, scope="local")
        for i in T.unroll(streams):
            for j in T.unroll(vectors):
                for lane in T.vectorized(width):
                    sums[(i * vectors + j) * width + lane] = c[c_at + i * c_row + j * width + lane]
        for group in T.serial(groups):
            for k in T.serial(length):
                for i in T.unroll(streams):
                    for j in T.unroll(vectors):
                        for lane in T.vectorized(width):
                            sums[(i * vectors + j) * width + lane] = (
                                sums[(i * vectors + j) * width + lane]
                                + a[a_at + group * a_group + i * a_row + k]
                                * w[w_at + (group * length + k) * columns + j * width + lane]
                            )
        for i in T.unroll(streams):
            for j in T.unroll(vectors):
                for lane in T.vectorized(width):
                    c[c_at + i * c_row + j * width + lane] = sums[(i * vectors + j) * width + lane]

    @T.inline
    def add_product(c, c_at, c_row, a, a_at, a_row, a_group, groups, length, w, w_at):
        """``c[i, j] += sum over g, k of a[g, i, k] w[g, k, j]``, with w block after block of ``spec.block(c_row)``."""
        block = T.meta_var(spec.block(c_row))
        for each in T.serial(c_row // block):
            at: T.int64 = each * block
            tile(c, c_at + at, c_row, a, a_at, a_row, a_group, groups, length, w, w_at + at * groups * length, block)
        if c_row % block > 0:
            at = T.meta_var(c_row // block * block)
            rest = T.meta_var(c_row % block)
            tile(c, c_at + at, c_row, a, a_at, a_row, a_group, groups, length, w, w_at + at * groups * length, rest)

    @T.inline
    def copy(c, c_at, source, s_at, length):
        """``length`` numbers, of which neither side need have more."""
        for v in T.serial(length // width):
            for lane in T.vectorized(width):
                c[c_at + v * width + lane] = source[s_at + v * width + lane]
        for k in T.unroll(length % width):
            c[c_at + length // width * width + k] = source[s_at + length // width * width + k]

    @T.inline
    def add(c, c_at, source, s_at, length):
        """``length`` numbers, whole vectors."""
        for v in T.serial(length // width):
            for lane in T.vectorized(width):
                c[c_at + v * width + lane] = c[c_at + v * width + lane] + source[s_at + v * width + lane]

    @T.inline
    def rectify(c, length):
        for v in T.serial(length // width):
            for lane in T.vectorized(width):
                c[v * width + lane] = T.Select(c[v * width + lane] < zero, zero, c[v * width + lane])

    return SimpleNamespace(add_product=add_product, copy=copy, add=add, rectify=rectify)

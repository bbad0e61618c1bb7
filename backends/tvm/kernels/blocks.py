"""What every kernel is made of: powers of two, packing, and the register-tiled product.

Suffixes: ``_at`` is where something starts, ``_row`` a stride between rows, ``_step`` between the terms of a sum. A
*panel* is a transposed strip of keys, as wide as the register tile, of which a product reads one line a term.
"""

from types import SimpleNamespace

from ..adapter import T
from ..spec import Spec

UNBOUNDED = 1 << 30
"""Memory behind an address has no length of its own."""
LOWEST = -1e30
"""Stands for minus infinity where a running maximum must stay finite."""
LOG2_E, LN_2 = 1.4426950408889634, 0.6931471805599453

EXP2_TERMS = {"float32": 6, "float64": 12}
EXPONENT = {"float32": (127, 23, "int32"), "float64": (1023, 52, "int64")}


def constant(dtype: str, value: float):
    return T.float32(value) if dtype == "float32" else T.float64(value)


def exp2(x, dtype: str):
    """``2^x`` for x <= 0: a polynomial on [-0.5, 0.5], the exponent put in by a shift; exactly 0 where x is -inf.

    Taylor coefficients; the error at 0.5 is 2e-9 with 6 terms and 2e-17 with 12. NaN stays NaN.
    """
    bias, mantissa_bits, integer = EXPONENT[dtype]
    lowest = constant(dtype, -bias)
    x = T.Select(x < lowest, lowest, x)
    whole = T.nearbyint(x)
    coefficients = [1.0]
    for n in range(1, EXP2_TERMS[dtype] + 1):
        coefficients.append(coefficients[-1] * LN_2 / n)
    power = constant(dtype, coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        power = power * (x - whole) + constant(dtype, coefficient)
    exponent = T.shift_left(T.Cast(integer, whole) + T.IntImm(integer, bias), T.IntImm(integer, mantissa_bits))
    return power * T.reinterpret(dtype, exponent)


def memory(address, dtype: str):
    """A flat buffer over raw memory."""
    return T.decl_buffer((UNBOUNDED,), dtype, data=T.reinterpret("handle", address))


def building_blocks(spec: Spec) -> SimpleNamespace:
    """The statements kernels are composed of, for the sizes and number type of a spec."""
    dtype = spec.dtype
    rows, vectors = spec.tiles.rows, spec.tiles.vectors
    width, columns = spec.lanes, spec.columns
    zero = constant(dtype, 0.0)

    @T.inline
    def product(c, c_at, c_row, a, a_at, a_row, a_step, b, b_at, b_step, terms, accumulate):
        """A register tile: ``c[i, j] (+)= sum over k of a[i, k] b[k, j]``."""
        sums = T.alloc_buffer((rows * columns,), dtype, scope="local")
        for i in T.unroll(rows):
            for j in T.unroll(vectors):
                for lane in T.vectorized(width):
                    if accumulate:
                        sums[i * columns + j * width + lane] = c[c_at + i * c_row + j * width + lane]
                    else:
                        sums[i * columns + j * width + lane] = zero
        for k in T.serial(terms):
            for i in T.unroll(rows):
                for j in T.unroll(vectors):
                    for lane in T.vectorized(width):
                        sums[i * columns + j * width + lane] = (
                            sums[i * columns + j * width + lane]
                            + a[a_at + i * a_row + k * a_step] * b[b_at + k * b_step + j * width + lane]
                        )
        for i in T.unroll(rows):
            for j in T.unroll(vectors):
                for lane in T.vectorized(width):
                    c[c_at + i * c_row + j * width + lane] = sums[i * columns + j * width + lane]

    @T.inline
    def fill(c, c_at, count, value):
        """``count`` numbers from ``c_at`` on."""
        for k in T.serial(count):
            c[c_at + k] = value

    @T.inline
    def pack_rows(c, c_at, padded, source, s_at, s_row, length, count, padded_count, factor):
        """``count`` rows of ``length`` numbers, times ``factor``, laid ``padded`` apart, zeros after them."""
        for row in T.serial(count):
            for k in T.serial(length):
                c[c_at + row * padded + k] = source[s_at + row * s_row + k] * factor
            fill(c, c_at + row * padded + length, padded - length, zero)
        fill(c, c_at + count * padded, (padded_count - count) * padded, zero)

    @T.inline
    def pack_panels(c, source, s_at, s_row, length, count, padded_count):
        """``count`` rows of ``length`` numbers as panels, zeros after them."""
        for panel in T.serial(count // columns):
            for k in T.serial(length):
                for lane in T.vectorized(columns):
                    c[(panel * length + k) * columns + lane] = source[s_at + (panel * columns + lane) * s_row + k]
        for row in T.serial(count // columns * columns, padded_count):
            for k in T.serial(length):
                if row < count:
                    c[(row // columns * length + k) * columns + row % columns] = source[s_at + row * s_row + k]
                else:
                    c[(row // columns * length + k) * columns + row % columns] = zero

    return SimpleNamespace(
        dtype=dtype,
        zero=zero,
        rows=rows,
        width=width,
        columns=columns,
        queries=spec.tiles.queries,
        keys=spec.tiles.keys,
        groups=spec.tiles.queries // rows,
        product=product,
        fill=fill,
        pack_rows=pack_rows,
        pack_panels=pack_panels,
    )

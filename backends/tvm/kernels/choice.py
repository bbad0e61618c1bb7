"""The choice of a class by its logit, as :mod:`seqmem.ops.choice` states it."""

from types import SimpleNamespace

from ..adapter import T
from ..spec import LoopSpec
from .blocks import EXPONENT, LN_2, LOG2_E, LOWEST, constant, exp2

BITS_OF_ONE = {"float32": 0x3F800000, "float64": 0x3FF0000000000000}
"""Of the number 1. Floats that are not negative are in the order of their bits, read as integers."""


def choice_statements(spec: LoopSpec) -> SimpleNamespace:
    """``weigh`` logits ``x``, whole vectors from ``x_at`` on, and ``choose`` one of them.

    ``powers`` become ``exp(x - top)``, ``found[0]`` is top, the largest logit, ``found[1]`` the logarithm of their sum.
    """
    dtype, width, choices = spec.dtype, spec.lanes, spec.choices
    vectors, integer = spec.padded(spec.choices) // spec.lanes, EXPONENT[spec.dtype][2]
    zero, one = constant(dtype, 0.0), constant(dtype, 1.0)

    @T.inline
    def fill_lanes(sums, value):
        for lane in T.vectorized(width):
            sums[lane] = value

    @T.inline
    def add_lanes(total, sums):
        total[0] = zero
        for lane in T.unroll(width):
            total[0] = total[0] + sums[lane]

    @T.inline
    def find_top(x, x_at, found):
        lanes = T.alloc_buffer((width,), dtype, scope="local")
        fill_lanes(lanes, constant(dtype, LOWEST))
        for v in T.serial(vectors):
            for lane in T.vectorized(width):
                lanes[lane] = T.max(lanes[lane], x[x_at + v * width + lane])
        found[0] = constant(dtype, LOWEST)
        for lane in T.unroll(width):
            found[0] = T.max(found[0], lanes[lane])

    @T.inline
    def exponentials(powers, x, x_at, top, sharpness, total):
        """``powers = exp((x - top) * sharpness)``, and their sum."""
        sums = T.alloc_buffer((width,), dtype, scope="local")
        fill_lanes(sums, zero)
        for v in T.serial(vectors):
            for lane in T.vectorized(width):
                powers[v * width + lane] = exp2(
                    (x[x_at + v * width + lane] - top) * (sharpness * constant(dtype, LOG2_E)), dtype
                )
            for lane in T.vectorized(width):
                sums[lane] = sums[lane] + powers[v * width + lane]
        add_lanes(total, sums)

    @T.inline
    def cut_to_nucleus(powers, enough):
        """Keep the fewest largest powers with a sum of at least ``enough``, and those that equal the least of them.

        That one is the least float above which the sum falls short, found by bisection of the floats from 0 to 1.
        """
        bounds = T.alloc_buffer((2,), integer, scope="local")
        middle = T.alloc_buffer((1,), integer, scope="local")
        sums = T.alloc_buffer((width,), dtype, scope="local")
        above = T.alloc_buffer((1,), dtype, scope="local")
        bounds[0] = T.IntImm(integer, 0)
        bounds[1] = T.IntImm(integer, BITS_OF_ONE[dtype])
        for _ in T.serial(BITS_OF_ONE[dtype].bit_length()):
            middle[0] = bounds[0] + T.shift_right(bounds[1] - bounds[0], T.IntImm(integer, 1))
            fill_lanes(sums, zero)
            for v in T.serial(vectors):
                for lane in T.vectorized(width):
                    sums[lane] = sums[lane] + T.Select(
                        powers[v * width + lane] > T.reinterpret(dtype, middle[0]), powers[v * width + lane], zero
                    )
            add_lanes(above, sums)
            if above[0] < enough:
                bounds[1] = middle[0]
            else:
                bounds[0] = middle[0]
        for v in T.serial(vectors):
            for lane in T.vectorized(width):
                powers[v * width + lane] = T.Select(
                    powers[v * width + lane] < T.reinterpret(dtype, bounds[1]), zero, powers[v * width + lane]
                )

    @T.inline
    def invert(powers, uniform, chosen):
        """The choice in whose share of the sum of ``powers`` the number ``uniform`` in (0, 1) falls."""
        sums = T.alloc_buffer((vectors,), dtype, scope="local")
        drawn = T.alloc_buffer((1,), dtype, scope="local")
        below = T.alloc_buffer((2,), dtype, scope="local")
        begin = T.alloc_buffer((1,), "int64", scope="local")
        drawn[0] = zero
        for v in T.serial(vectors):
            sums[v] = zero
            for lane in T.unroll(width):
                sums[v] = sums[v] + powers[v * width + lane]
            drawn[0] = drawn[0] + sums[v]
        drawn[0] = drawn[0] * uniform
        below[0] = zero
        below[1] = zero
        begin[0] = T.int64(0)
        for v in T.serial(vectors):
            if below[1] <= drawn[0] and sums[v] > zero:
                begin[0] = v * width
                below[0] = below[1]
            below[1] = below[1] + sums[v]
        chosen[0] = T.int64(0)
        for lane in T.serial(width):
            if below[0] <= drawn[0] and powers[begin[0] + lane] > zero:
                chosen[0] = begin[0] + lane
            below[0] = below[0] + powers[begin[0] + lane]

    @T.inline
    def weigh(powers, x, x_at, found):
        total = T.alloc_buffer((1,), dtype, scope="local")
        find_top(x, x_at, found)
        exponentials(powers, x, x_at, found[0], one, total)
        found[1] = T.log2(total[0]) * constant(dtype, LN_2)

    @T.inline
    def choose(o, powers, x, x_at, top, uniform, chosen):
        """By the weights that :func:`weigh` gave."""
        total = T.alloc_buffer((1,), dtype, scope="local")
        if o.temperature == zero:
            chosen[0] = T.int64(0)
            for k in T.serial(choices):
                if x[x_at + choices - 1 - k] == top:
                    chosen[0] = T.Cast("int64", choices - 1 - k)
        else:
            if o.temperature != one or o.top_p < one:
                exponentials(powers, x, x_at, top, one / o.temperature, total)
            if o.top_p < one:
                cut_to_nucleus(powers, total[0] * o.top_p)
            invert(powers, uniform, chosen)

    return SimpleNamespace(weigh=weigh, choose=choose)

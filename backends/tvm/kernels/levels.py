"""The choice of a level from a mixture of logistics, and its probability, as :mod:`seqmem.ops.logistics` states them.

In float64, since levels may lie closer together than float32 tells apart.
"""

from types import SimpleNamespace

from ..adapter import T
from ..spec import LoopSpec
from .blocks import LOWEST


def level_statements(spec: LoopSpec) -> SimpleNamespace:
    """``draw`` a level from logistics whose means and log-scales are ``x`` from ``x_at`` on, and ``log_prob`` of it."""
    means, log_scales = spec.padded(spec.choices), 2 * spec.padded(spec.choices)
    zero, half, one, two = T.float64(0), T.float64(0.5), T.float64(1), T.float64(2)

    def double(value):
        return T.Cast("float64", value)

    def log_scale(o, x, x_at, i):
        value = x[x_at + log_scales + i]
        value = T.Select(value < o.least_log_scale, o.least_log_scale, value)
        return double(T.Select(value > o.most_log_scale, o.most_log_scale, value))

    def log_sigmoid(x):
        return T.Select(x < zero, x, zero) - T.log(one + T.exp(T.Select(x < zero, x, -x)))

    def rest(x):
        """``1 - exp(-x)``, by three terms of its series where the difference would lose digits."""
        series = x * (one - x * half * (one - x * T.float64(1 / 3)))
        return T.Select(x < T.float64(1e-4), series, one - T.exp(-x))

    @T.inline
    def draw(o, x, x_at, uniform, chosen):
        """``chosen[0]``, a logistic, becomes a level."""
        last: T.float64 = double(o.num_ids - 1)
        drawn = T.alloc_buffer((1,), "float64", scope="local")
        drawn[0] = double(x[x_at + means + chosen[0]])
        if double(o.temperature) > zero:
            u: T.float64 = double(uniform)
            scale: T.float64 = double(o.temperature) * T.exp(log_scale(o, x, x_at, chosen[0]))
            drawn[0] = drawn[0] + scale * (T.log(u) - T.log(one - u))
        drawn[0] = T.floor((drawn[0] + one) * (last * half) + half)
        chosen[0] = T.Cast("int64", T.max(T.min(drawn[0], last), zero))

    @T.inline
    def log_prob(o, x, x_at, level, total, found):
        """``found[0]``, given the logarithm of the sum of the exponentials of the logits, which lie at ``x_at``."""
        last: T.float64 = double(o.num_ids - 1)
        terms = T.alloc_buffer((spec.choices,), "float64", scope="local")
        top = T.alloc_buffer((1,), "float64", scope="local")
        powers = T.alloc_buffer((1,), "float64", scope="local")
        top[0] = T.float64(LOWEST)
        for i in T.serial(spec.choices):
            inverse: T.float64 = T.exp(-log_scale(o, x, x_at, i))
            lower: T.float64 = ((double(level) * two - one) / last - one - double(x[x_at + means + i])) * inverse
            width: T.float64 = two / last * inverse
            terms[i] = double(x[x_at + i]) - total
            if level < o.num_ids - 1:
                terms[i] = terms[i] + log_sigmoid(lower + width)
            if level > 0:
                terms[i] = terms[i] + log_sigmoid(-lower)
            if level > 0 and level < o.num_ids - 1:
                terms[i] = terms[i] + T.log(rest(width))
            top[0] = T.max(top[0], terms[i])
        powers[0] = zero
        for i in T.serial(spec.choices):
            powers[0] = powers[0] + T.exp(terms[i] - top[0])
        found[0] = T.Cast(spec.dtype, top[0] + T.log(powers[0]))

    return SimpleNamespace(draw=draw, log_prob=log_prob)

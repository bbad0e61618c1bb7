"""The shared dropout hash (:mod:`seqmem.ops.dropout`) in vector registers: 32-bit arithmetic, no state."""

from types import SimpleNamespace

from ..adapter import T

QUERY_STEP, KEY_STEP = 0x9E3779B1, 0x85EBCA77


def mix(x):
    """The 32-bit mixer of :func:`seqmem.ops.dropout.mix`."""
    x = (x ^ (x >> T.uint32(16))) * T.uint32(0x7FEB352D)
    x = (x ^ (x >> T.uint32(15))) * T.uint32(0x846CA68B)
    return x ^ (x >> T.uint32(16))


def dropping(b: SimpleNamespace) -> SimpleNamespace:
    """Statements that put zeros in the place of dropped probabilities."""
    width = b.width

    @T.inline
    def drop_row(values, at, vectors, row_key, query, key, key_stride, threshold):
        """Vectors of one query; lane n is the key with index ``key + n * key_stride``."""
        seed: T.uint32 = mix(T.Cast("uint32", row_key) + T.Cast("uint32", query) * T.uint32(QUERY_STEP))
        for v in T.serial(vectors):
            for lane in T.vectorized(width):
                values[at + v * width + lane] = T.Select(
                    mix(
                        seed
                        + (T.Cast("uint32", key) + T.Cast("uint32", v * width + lane) * T.Cast("uint32", key_stride))
                        * T.uint32(KEY_STEP)
                    )
                    >= T.Cast("uint32", threshold),
                    values[at + v * width + lane],
                    b.zero,
                )

    return SimpleNamespace(drop_row=drop_row)

"""Sums that belong to keys, over the queries that see them: gradients of keys and values, and band_pv_t itself."""

from types import SimpleNamespace

from ..adapter import T


def summing(b: SimpleNamespace, w: SimpleNamespace, weights_row: int) -> SimpleNamespace:
    """Statements over ``sums [keys of a chunk, sums_row]``, and ``target``, where they end, in rows of ``length``."""

    @T.inline
    def add(o, sums, sums_row, weights, vectors, query, count, key, key_end):
        """``sums[n] += weights[m, n] * vectors[m]`` for a tile; weights are 0 where m does not see n."""
        for panel in T.serial(sums_row // b.columns):

            @T.inline
            def group(start, a, z):
                b.product(
                    sums, start * sums_row + panel * b.columns, sums_row,
                    weights, a * weights_row + start - key, 1, weights_row,
                    vectors, a * sums_row + panel * b.columns, sums_row, z - a, True,
                )  # fmt: skip

            w.each_key_group(o, query, count, key, key_end, group)

    @T.inline
    def clear(o, target, at, length, begin, end):
        """Zeros for the keys begin ... end - 1, which nobody sees."""
        for n in T.serial(T.max(end - begin, T.int64(0))):
            b.fill(target, at + (begin + n) * o.dilation * o.heads * length, length, b.zero)

    @T.inline
    def write(o, target, at, length, sums, sums_row, base, end, done, factor):
        """The chunk's sums, times ``factor``: added up to ``done``; keys between ``done`` and ``base`` get zeros."""
        clear(o, target, at, length, done, base)
        for n in T.serial(end - base):
            to: T.int64 = at + (base + n) * o.dilation * o.heads * length
            if base + n < done:
                for k in T.serial(length):
                    target[to + k] = target[to + k] + sums[n * sums_row + k] * factor
            else:
                for k in T.serial(length):
                    target[to + k] = sums[n * sums_row + k] * factor

    return SimpleNamespace(add=add, write=write, clear=clear)

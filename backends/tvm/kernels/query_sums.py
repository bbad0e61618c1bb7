"""Sums that belong to queries, over the keys they see: outputs, and gradients of queries."""

from types import SimpleNamespace

from ..adapter import T


def weighted_sums(b: SimpleNamespace, w: SimpleNamespace, weights_row: int):
    """A statement: ``sums[m] += sum over n of weights[m, n] * vectors[n]`` for a block of queries, a tile of keys."""

    @T.inline
    def add(o, sums, sums_row, weights, vectors, query, count, key, first, key_end):
        for panel in T.serial(sums_row // b.columns):

            @T.inline
            def group(group, a, z):
                b.product(
                    sums, group * b.rows * sums_row + panel * b.columns, sums_row,
                    weights, group * b.rows * weights_row + a - key, weights_row, 1,
                    vectors, a * sums_row + panel * b.columns, sums_row, z - a, True,
                )  # fmt: skip

            w.each_group(o, query, count, first, key_end, group)

    return add

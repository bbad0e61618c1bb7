"""Weights given along the band, laid out by key: zeros where a query does not see a key, whatever stands there."""

from types import SimpleNamespace

from ..adapter import T


def weighting(b: SimpleNamespace) -> SimpleNamespace:
    """A statement that fills ``weights [queries, weights_row]`` for a block of queries and a tile of keys."""
    weights_row = b.keys + b.rows

    @T.inline
    def load(o, weights, row, head, index, query, count, key, key_end):
        at: T.int64 = row * o.p_batch + head * o.p_head + index * o.p_time
        b.fill(weights, 0, b.queries * weights_row, b.zero)
        for r in T.serial(count):
            low: T.int64 = T.max(query + r - o.left, key)
            high: T.int64 = T.min(query + r + o.right + 1, key_end)
            source: T.int64 = at + r * o.dilation * o.p_time + low - query - r + o.left
            for n in T.serial(T.max(high - low, T.int64(0))):
                weights[r * weights_row + low - key + n] = o.p[source + n]

    return SimpleNamespace(row=weights_row, load=load)

"""The walk over listed blocks of keys: that over a band without bounds, where a query sees only the runs of its row.

A run is blocks of a row that lie side by side: keys ``runs[2 i]`` to ``runs[2 i + 1]``. Row ``a`` of a layout's head
has the runs from ``first_run[head * num_rows + a]`` on, up to those of the next row. Blocks have no other trace in a
kernel, so their size and number are arguments.
"""

from types import SimpleNamespace

from ..adapter import T
from .walk import walks


def run_walks(b: SimpleNamespace) -> SimpleNamespace:
    """The loops, each calling the ``body`` it is given."""

    @T.inline
    def each_block(o, first, last, body):
        """``body(query, count)``: cache blocks of queries, of which all see the same runs."""
        begin: T.int64 = first // o.block_size
        rows: T.int64 = T.Select(first < last, (last + o.block_size - 1) // o.block_size - begin, T.int64(0))
        for row in T.serial(rows):
            start: T.int64 = T.max(first, (begin + row) * o.block_size)
            stop: T.int64 = T.min(last, (begin + row + 1) * o.block_size)
            for block in T.serial((stop - start + b.queries - 1) // b.queries):
                query: T.int64 = start + block * b.queries
                count: T.int64 = T.min(stop - query, T.int64(b.queries))
                body(query, count)

    @T.inline
    def each_tile(o, head, query, count, num_keys, body):
        """``body(key, first, key_end)``: cache blocks of the keys of each run, from whole panels on.

        None sees those between key and ``first``.
        """
        row: T.int64 = head % o.layout_heads * o.num_rows + query // o.block_size
        for i in T.serial(o.first_run[row + 1] - o.first_run[row]):
            run: T.int64 = o.first_run[row] + i
            start: T.int64 = o.runs[2 * run]
            stop: T.int64 = T.min(o.runs[2 * run + 1], query + count + o.right)
            begin: T.int64 = start // b.columns * b.columns
            for tile in T.serial((T.max(stop - begin, T.int64(0)) + b.keys - 1) // b.keys):
                key: T.int64 = begin + tile * b.keys
                first: T.int64 = T.max(key, start)
                key_end: T.int64 = T.min(key + b.keys, stop)
                body(key, first, key_end)

    @T.inline
    def each_key(o, head, residue, query, count, body):
        """``body(n, key)``: the keys that a single query sees, n from 0 on; ``count[0]`` becomes their number."""
        row: T.int64 = head % o.layout_heads * o.num_rows + query // o.block_size
        count[0] = T.int64(0)
        for i in T.serial(o.first_run[row + 1] - o.first_run[row]):
            run: T.int64 = o.first_run[row] + i
            start: T.int64 = o.runs[2 * run]
            stop: T.int64 = T.min(o.runs[2 * run + 1], query + 1 + o.right)
            for n in T.serial(stop - start):
                body(count[0] + n, start + n)
            count[0] = count[0] + stop - start

    return SimpleNamespace(**vars(walks(b)) | {"each_block": each_block, "each_tile": each_tile, "each_key": each_key})

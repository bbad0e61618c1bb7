"""The walk over a band: tasks, units, cache blocks of queries and keys, register tiles, visiting only what is seen.

A unit of work is (batch row, head, residue, part): under dilation d the positions that leave the same residue are a
sequence of their own, with dilation 1. Within a chunk of a unit, queries and keys are counted along that sequence from
``base``, the first key the chunk sees: query m sees the keys m - left ... m + right.
"""

from types import SimpleNamespace

from ..adapter import T
from ..arguments import Layout
from ..spec import ITEM_BYTES
from .blocks import memory

MAX_SLOTS = 96


def operands(data, layout: Layout, dtype: str, others: dict[str, str] | None = None) -> SimpleNamespace:
    """What the argument array says, by name: buffers over tensors, integers, reals as numbers of ``dtype``."""
    integers = T.decl_buffer((MAX_SLOTS,), "int64", data=data)
    reals = T.decl_buffer((MAX_SLOTS,), "float64", data=data)
    found: dict[str, object] = {name: integers[slot] for name, slot in layout.slots.items()}
    for name in (*layout.tensors, *layout.addresses):
        if name != "workspace":
            found[name] = memory(integers[layout.slots[name]], (others or {}).get(name, dtype))
    found |= {name: T.Cast(dtype, reals[layout.slots[name]]) for name in layout.reals}
    return SimpleNamespace(**found)


def carve(o: SimpleNamespace, task, areas: dict, dtype: str) -> SimpleNamespace:
    """Consecutive buffers in this task's part of the workspace, by name."""
    size = T.int64(ITEM_BYTES[dtype])
    address = o.workspace + T.Cast("int64", task) * o.task_workspace * size
    buffers = {}
    for name, length in areas.items():
        buffers[name] = memory(address, dtype)
        address = address + length * size
    return SimpleNamespace(**buffers)


def keys_of(o: SimpleNamespace, residue):
    """Number of keys in a residue's sequence."""
    return (o.keys - residue + o.dilation - 1) // o.dilation


def walks(b: SimpleNamespace) -> SimpleNamespace:
    """The loops, each calling the ``body`` it is given."""

    @T.inline
    def each_unit(o, task, body):
        """``body(unit, row, head, residue, part, first, last)``: its units, with the queries first ... last - 1."""
        units: T.int64 = o.batch * o.heads * o.dilation * o.parts
        begin: T.int64 = units * task // o.num_tasks
        for u in T.serial(units * (task + 1) // o.num_tasks - begin):
            unit: T.int64 = begin + u
            part: T.int64 = unit % o.parts
            residue: T.int64 = unit // o.parts % o.dilation
            head: T.int64 = unit // o.parts // o.dilation % o.heads
            row: T.int64 = unit // o.parts // o.dilation // o.heads
            start: T.int64 = (T.max(o.offset - residue, T.int64(0)) + o.dilation - 1) // o.dilation
            stop: T.int64 = (o.offset + o.queries - residue + o.dilation - 1) // o.dilation
            first: T.int64 = start + part * o.part_queries
            last: T.int64 = T.min(first + o.part_queries, stop)
            body(unit, row, head, residue, part, first, last)

    @T.inline
    def each_chunk(o, residue, first, last, body):
        """``body(first, last, base, end)``: runs of a unit's queries, so short that the keys they see stay in cache."""
        num_keys: T.int64 = keys_of(o, residue)
        for chunk in T.serial((T.max(last - first, T.int64(0)) + o.chunk_queries - 1) // o.chunk_queries):
            head: T.int64 = first + chunk * o.chunk_queries
            tail: T.int64 = T.min(head + o.chunk_queries, last)
            base: T.int64 = T.min(T.max(head - o.left, T.int64(0)), num_keys)
            end: T.int64 = T.max(T.min(tail + o.right, num_keys), base)
            body(head, tail, base, end)

    @T.inline
    def each_block(o, first, last, body):
        """``body(query, count)``: cache blocks of queries."""
        for block in T.serial((T.max(last - first, T.int64(0)) + b.queries - 1) // b.queries):
            query: T.int64 = first + block * b.queries
            count: T.int64 = T.min(last - query, T.int64(b.queries))
            body(query, count)

    @T.inline
    def each_tile(o, head, query, count, num_keys, body):
        """``body(key, first, key_end)``: cache blocks of the keys that a block of queries sees, from whole panels on.

        None sees those between key and ``first``.
        """
        begin: T.int64 = T.max(query - o.left, T.int64(0)) // b.columns * b.columns
        end: T.int64 = T.min(query + count + o.right, num_keys)
        for tile in T.serial((T.max(end - begin, T.int64(0)) + b.keys - 1) // b.keys):
            key: T.int64 = begin + tile * b.keys
            key_end: T.int64 = T.min(key + b.keys, end)
            body(key, key, key_end)

    @T.inline
    def each_group(o, query, count, first, key_end, body):
        """``body(group, a, z)``: groups of ``rows`` queries, and the keys a ... z - 1 of the tile that they see."""
        for group in T.serial((count + b.rows - 1) // b.rows):
            a: T.int64 = T.max(query + group * b.rows - o.left, first)
            z: T.int64 = T.min(query + group * b.rows + b.rows + o.right, key_end)
            if a < z:
                body(group, a, z)

    @T.inline
    def each_key_group(o, query, count, key, key_end, body):
        """``body(start, a, z)``: groups of ``rows`` keys, and the queries query + a ... query + z - 1 that see them."""
        for group in T.serial((key_end - key + b.rows - 1) // b.rows):
            start: T.int64 = key + group * b.rows
            a: T.int64 = T.max(start - o.right - query, T.int64(0))
            z: T.int64 = T.min(T.min(start + b.rows, key_end) + o.left - query, count)
            if a < z:
                body(start, a, z)

    @T.inline
    def each_key(o, head, residue, query, count, body):
        """``body(n, key)``: the keys that a single query sees, n from 0 on; ``count[0]`` becomes their number."""
        first: T.int64 = T.max(query - o.left, T.int64(0))
        count[0] = T.max(T.min(query + o.right + 1, keys_of(o, residue)) - first, T.int64(0))
        for n in T.serial(count[0]):
            body(n, first + n)

    return SimpleNamespace(
        each_key=each_key,
        each_unit=each_unit,
        each_chunk=each_chunk,
        each_block=each_block,
        each_tile=each_tile,
        each_group=each_group,
        each_key_group=each_key_group,
    )

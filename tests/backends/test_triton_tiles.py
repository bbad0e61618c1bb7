"""Every shipped configuration of the Triton kernels, interpreted on a problem that crosses its tiles' edges."""

import pytest
import torch
from seqmem.backends.triton import tiles

from seqmem.ops import Band, bind, reference
from seqmem.testing.layouts import Layout
from seqmem.testing.problem import Problem
from seqmem.testing.tolerances import assert_within_budget

DTYPES = {2: torch.float16, 4: torch.float32}
CONFIGURATIONS = sorted({(row["item_bytes"], row["width"], row["positions"]) for row in tiles.table()})


def crossing(width: int, rows: list[dict]) -> Layout:
    """Two tiles and a bit of queries, and a window that covers a whole tile and parts of others."""
    length = 2 * max(row["queries"] for row in rows) + 5
    left = 2 * max(row["keys"] for row in rows)
    return Layout("crossing", 1, length, length + 7, 1, width, width, lambda _: Band(left, 3))


@pytest.mark.parametrize(("item_bytes", "width", "positions"), CONFIGURATIONS)
def test_fused_attention_across_tiles(item_bytes: int, width: int, positions: bool):
    chosen = (item_bytes, width, positions)
    rows = [row for row in tiles.table() if (row["item_bytes"], row["width"], row["positions"]) == chosen]
    layout = crossing(width, [row for row in rows if row["kernel"].startswith("attend")])
    check(Problem.make("attend", layout, DTYPES[item_bytes], "rel" if positions else "bias", "cpu"))


@pytest.mark.parametrize(("item_bytes", "width"), sorted({(size, width) for size, width, _ in CONFIGURATIONS}))
@pytest.mark.parametrize("op", ["band_qk", "band_pv", "band_pv_t"])
def test_band_kernels_across_tiles(op: str, item_bytes: int, width: int):
    rows = [row for row in tiles.table() if (row["kernel"], row["item_bytes"], row["width"]) == (op, item_bytes, width)]
    check(Problem.make(op, crossing(width, rows), DTYPES[item_bytes], "plain", "cpu"))


def check(problem: Problem) -> None:
    got = problem.outcome(bind("triton"), problem.dtype)
    truth = problem.outcome(reference, torch.float64)
    low = problem.outcome(reference, problem.dtype)
    for name in truth:
        assert_within_budget(got[name], truth[name], low[name].to(problem.dtype), name)


def test_the_nearest_width_is_taken():
    entries = {row["width"] for row in tiles.table()}
    assert tiles.tiles_for("attend", 2, 16, False) == tiles.tiles_for("attend", 2, min(entries), False)
    assert tiles.tiles_for("attend", 2, 4096, False) == tiles.tiles_for("attend", 2, max(entries), False)


def test_tiles_are_what_kernels_take():
    for row in tiles.table():
        assert all(row[side] >= 16 and row[side].bit_count() == 1 for side in ("queries", "keys"))
        assert row["kernel"] != "attend_columns" or row["queries"] == row["keys"]


@pytest.mark.parametrize("kernel", ["attend", "attend_queries", "attend_keys"])
def test_a_width_between_two_takes_the_smaller_tiles(kernel: str):
    """Those of 256 would not fit the shared memory of an H100 at 512."""
    found, smaller, larger = (tiles.tiles_for(kernel, 2, width, False) for width in (512, 1024, 256))
    assert found == smaller != larger

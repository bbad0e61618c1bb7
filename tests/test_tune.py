"""The search for the tile sizes of the tvm kernels, on made-up times."""

import json
import platform
import runpy
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
from seqmem.backends.tvm.tiles import Tiles

TUNE = Path(__file__).parents[1] / "tools" / "tune"
START = Tiles(6, 2, 24, 128)


@pytest.fixture
def search(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(str(TUNE))
    import search

    yield search
    del sys.modules["search"]


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(str(TUNE))
    import table

    yield table
    del sys.modules["table"]


@pytest.fixture
def candidates(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(str(TUNE))
    import tvm_candidates

    yield tvm_candidates
    del sys.modules["tvm_candidates"]


def kinds(candidates: ModuleType, isa: str = "avx2"):
    """As the command searches them, at width 64."""
    key = candidates.Key(isa, "float32", 64, 512)
    return partial(candidates.register_tiles, key=key), partial(candidates.cache_blocks, key=key)


def made_up(best: Tiles):
    """Times that grow with the distance from ``best``."""

    def seconds(tiles: Tiles) -> float:
        register = abs(tiles.rows - best.rows) + abs(tiles.vectors - best.vectors)
        return 1 + register + abs(tiles.queries - best.queries) / 100 + abs(tiles.keys - best.keys) / 1000

    def time_in_turns(candidates: Sequence[Tiles], _rounds: int) -> Mapping[Tiles, float]:
        return {tiles: seconds(tiles) for tiles in candidates}

    return seconds, time_in_turns


def test_the_fastest_tiles_are_found_and_what_they_gain(search, candidates):
    best = Tiles(5, 2, 50, 256)
    seconds, time_in_turns = made_up(best)
    assert search.search(START, kinds(candidates), time_in_turns) == (best, seconds(START) / seconds(best))


def test_the_start_stays_where_nothing_is_faster(search, candidates):
    assert search.search(START, kinds(candidates), made_up(START)[1]) == (START, 1.0)


def test_the_slower_half_is_measured_no_more_and_the_rest_longer(search):
    asked = []

    def time_in_turns(candidates, rounds):
        asked.append((len(candidates), rounds))
        return {tiles: tiles.rows for tiles in candidates}

    candidates = [Tiles(rows, 1, rows, 64) for rows in (5, 3, 8, 1, 4, 2, 7, 6, 9)]
    assert search.halve(candidates, time_in_turns).rows == 1
    assert asked == [(9, 1), (5, 2), (3, 4), (2, 8)]


@pytest.mark.parametrize(("isa", "registers", "lanes"), [("avx2", 16, 8), ("avx512", 32, 16), ("neon", 32, 4)])
def test_candidates_fit_the_registers_and_their_blocks_are_whole(candidates, isa: str, registers: int, lanes: int):
    register_tiles, cache_blocks = kinds(candidates, isa)
    for tiles in register_tiles(START)[1:]:
        assert tiles.rows * tiles.vectors + tiles.vectors + 1 <= registers
        assert 64 % (tiles.vectors * lanes) == 0
        for block in cache_blocks(tiles):
            assert (block.queries % block.rows, block.keys % (block.vectors * lanes)) == (0, 0)


def test_a_table_keeps_what_it_had_and_replaces_what_was_tuned_again(table, candidates, tmp_path: Path):
    file = tmp_path / "tuned.json"
    first, second = (candidates.Key("avx2", "float32", width, 512) for width in (64, 32))
    table.merge(file, first, START)
    table.merge(file, second, START)
    table.merge(file, first, Tiles(5, 2, 50, 256))
    rows = json.loads(file.read_text())
    assert [(row["width"], row["rows"], row["queries"]) for row in rows] == [(32, 6, 24), (64, 5, 50)]
    assert len(file.read_text().splitlines()) == 4


def test_the_tool_tunes_every_combination_and_writes_the_table(
    search, table, candidates, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    asked = []

    def turns_of(key, length: int):
        asked.append((key.width, key.window, length))
        return made_up(Tiles(6, 2, 48, 256))[1]

    file = tmp_path / "tuned.json"
    options = ["--width", "64", "--window", "64", "--window", "512", "--length", "100", "--table", str(file), "--json"]
    monkeypatch.setitem(sys.modules, "tvm_timing", SimpleNamespace(turns_of=turns_of))
    monkeypatch.setattr(sys, "argv", ["tune", "tvm", *options])
    with pytest.raises(SystemExit, match="0"):
        runpy.run_path(str(TUNE / "__main__.py"))
    found, rows = json.loads(capsys.readouterr().out), json.loads(file.read_text())
    assert asked == [(64, 64, 100), (64, 512, 100)]
    assert [(row["window"], row["dtype"]) for row in rows] == [(64, "float32"), (512, "float32")]
    assert [entry["tiles"] for entry in found] == [{name: row[name] for name in vars(START)} for row in rows]


def test_an_instruction_set_that_the_machine_lacks_is_refused():
    lacking = "generic" if platform.machine() in ("arm64", "aarch64") else "neon"
    done = subprocess.run([sys.executable, str(TUNE), "tvm", "--isa", lacking], capture_output=True, text=True)
    assert done.returncode == 2
    assert "this machine has no" in done.stderr

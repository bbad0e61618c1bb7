"""The search for the tiles of the Triton kernels: on made-up times, and by what the compiler says."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from functools import partial
from importlib import import_module
from math import inf
from pathlib import Path
from time import monotonic
from types import SimpleNamespace

import pytest
from seqmem.backends.triton.tiles import TABLE, Tiles

TUNE = Path(__file__).parents[1] / "tools" / "tune"
MODULES = {path.stem for path in TUNE.glob("[!_]*.py") if not path.stem.startswith("tvm")}
BEST = Tiles(64, 32, 4, 3)


@pytest.fixture
def tool(monkeypatch: pytest.MonkeyPatch) -> Iterator[SimpleNamespace]:
    """The modules of ``tools/tune triton``."""
    monkeypatch.syspath_prepend(str(TUNE))
    yield SimpleNamespace(**{name.removeprefix("triton_"): import_module(name) for name in MODULES})
    for name in MODULES:
        del sys.modules[name]


class HereAndNow:
    """In place of the processes that compile."""

    def submit(self, function: Callable, *arguments: object) -> Future:
        future: Future = Future()
        future.set_result(function(*arguments))
        return future


class MadeUpGPU:
    """Times grow with the distance from ``BEST``; kernels take the shared memory that ``shared`` says, of 100 bytes."""

    def __init__(self) -> None:
        self.timed: set[Tiles] = set()
        self.shared: Callable[[Tiles, int], float] = lambda tiles, architecture: 100

    def seconds(self, run: partial) -> float:
        *_, constants, warps, stages = run.args
        tiles = Tiles(constants["form"].queries, constants["form"].keys, warps, stages)
        self.timed.add(tiles)
        return 1 + sum(abs(value - best) for value, best in zip(vars(tiles).values(), vars(BEST).values(), strict=True))


@pytest.fixture
def gpu(tool: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> MadeUpGPU:
    made_up, workload = MadeUpGPU(), tool.measured.Workload
    monkeypatch.setattr(tool.timing, "seconds", made_up.seconds)
    monkeypatch.setattr(tool.measured, "Workload", lambda key, problem, device: workload(key, problem, "meta"))
    monkeypatch.setattr(tool.measured, "shared_limits", lambda: {80: 100, 90: 200})
    monkeypatch.setattr(tool.measured, "shared_bytes", lambda key, tiles, _, gpu: made_up.shared(tiles, gpu))
    return made_up


@pytest.fixture
def fastest(tool: SimpleNamespace, gpu: MadeUpGPU) -> Callable:
    return partial(tool.measured.fastest, HereAndNow(), tool.launch.Problem(300, 20), inf)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A copy of what ships."""
    return shutil.copy(TABLE, tmp_path / "tuned.json")


def without(rows: list[dict], key: object) -> list[dict]:
    return [row for row in rows if not vars(key).items() <= row.items()]


def test_every_row_is_tuned_the_most_used_first(tool):
    keys = tool.rows.rows_by_use()
    names = tuple(vars(keys[0]))
    rows = {tuple(row[name] for name in names) for row in json.loads(TABLE.read_text())}
    assert sorted(tuple(vars(key).values()) for key in keys) == sorted(rows)
    used = [(key.item_bytes, key.positions, key.width in (64, 128)) for key in keys]
    assert list(dict.fromkeys(used))[:2] == [(2, False, True), (2, True, True)]


@pytest.mark.parametrize("positions", [False, True])
def test_a_kernel_is_launched_by_itself_with_the_tiles_of_choice(tool, positions: bool):
    for kernel in tool.rows.KERNELS[: 5 if positions else None]:
        key = tool.rows.Key(kernel, 4, positions, 64)
        launched, _, _, constants, *options = tool.launch.Workload(key, tool.launch.Problem(40, 8), "meta").queued(
            Tiles(16, 16, 8, 3)
        )
        form = constants["form"]
        assert (launched.__name__, form.width, form.queries, form.keys, options) == (kernel, 64, 16, 16, [8, 3])


def test_the_fastest_of_the_tiles_that_fit_are_found(tool, gpu, fastest):
    key = tool.rows.Key("attend_queries", 2, False, 64)
    assert fastest(key)[0] == BEST
    assert gpu.timed > {BEST, key.tiles}
    gpu.timed.clear()
    gpu.shared = lambda tiles, architecture: 101 if tiles.queries * tiles.keys >= 2048 and architecture == 80 else 100
    found, why = fastest(key)
    assert found == Tiles(64, 16, 4, 3)
    assert why.endswith("x what ships")
    assert all(tiles.queries * tiles.keys < 2048 for tiles in gpu.timed)


def test_tiles_of_sums_by_columns_stay_square(tool, gpu, fastest):
    found, _ = fastest(tool.rows.Key("attend_columns", 2, True, 64))
    assert found.queries == found.keys
    assert all(tiles.queries == tiles.keys for tiles in gpu.timed)


def test_only_the_row_that_was_tuned_changes(tool, fastest, table: Path):
    before, key = json.loads(TABLE.read_text()), tool.rows.Key("attend", 2, True, 128)
    tool.command.tune([key], table, inf, fastest)
    after = json.loads(table.read_text())
    assert vars(key) | vars(BEST) in after
    assert len(after) == len(before)
    assert [row for row in without(before, key) if row not in after] == []


def test_a_row_stays_where_nothing_fits_or_the_time_is_up(tool, gpu, fastest, table: Path, capsys):
    keys = tool.rows.rows_by_use()[:2]
    gpu.shared = lambda tiles, architecture: inf
    tool.command.tune(keys, table, inf, fastest)
    assert capsys.readouterr().out.count("nothing fits, the row stays") == 2
    gpu.shared = lambda tiles, architecture: 100
    late = partial(tool.measured.fastest, HereAndNow(), tool.launch.Problem(300, 20), monotonic() - 1)
    tool.command.tune(keys, table, inf, late)
    tool.command.tune(keys, table, monotonic() - 1, fastest)
    assert table.read_bytes() == TABLE.read_bytes()
    assert not gpu.timed


def test_what_is_preferred_is_what_kernels_take(tool):
    for key in tool.rows.rows_by_use():
        found = tool.preferred.preferred(key)
        assert found
        assert key.kernel != "attend_columns" or all(tiles.queries == tiles.keys for tiles in found)


def run(*options: str) -> subprocess.CompletedProcess:
    """The command without a GPU."""
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    command = [sys.executable, str(TUNE), "triton", *options]
    return subprocess.run(command, env=environment | {"CUDA_VISIBLE_DEVICES": ""}, capture_output=True, text=True)


def test_the_compiler_chooses_what_ships(tmp_path: Path):
    row = ["--kernel", "attend_keys", "--item-bytes", "2", "--width", "128", "--no-positions"]
    done = run("--ahead", "90", *row, "--table", str(tmp_path / "tuned.json"))
    assert done.returncode == 0, done.stderr
    (found,) = json.loads((tmp_path / "tuned.json").read_text())
    assert found["kernel"] == "attend_keys"
    assert found in json.loads(TABLE.read_text())


def test_in_no_time_the_table_stays_as_it_was(table: Path):
    done = run("--ahead", "90", "--minutes", "0", "--table", str(table))
    assert (done.returncode, done.stdout) == (0, "")
    assert table.read_bytes() == TABLE.read_bytes()


def test_without_a_gpu_it_says_what_is_missing():
    done = run()
    assert done.returncode == 1
    assert done.stderr == "Error: no CUDA GPU is here to time kernels on; --ahead 90 goes by what the compiler says\n"

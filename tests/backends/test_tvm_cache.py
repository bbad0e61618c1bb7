"""Kernels across processes and machines: found again without tvm, whole or compiled anew, in memory where need be."""

import logging
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from seqmem.backends.tvm import library, worker
from seqmem.backends.tvm.compiler import object_code
from seqmem.backends.tvm.installed import build_id
from seqmem.backends.tvm.link import CannotLink, link
from seqmem.backends.tvm.worker import compile_apart

from seqmem.errors import SeqmemError
from seqmem.ops import Band, bind, cache

ROOT = Path(__file__).parents[2]

USE = """
import sys, torch
from seqmem.backends.tvm import library
from seqmem.ops import Band, bind

compile_apart, compiled = library.compile_apart, []
library.compile_apart = lambda spec: compiled.append(spec) or compile_apart(spec)
ones = torch.ones(1, 2, 1, 4)
print(bind("tvm").band_qk(ones, ones, Band(1)).sum().item(), len(compiled), "tvm" in sys.modules)
"""
"""Prints 12.0, the sum of three products, how many kernels had to be compiled for it, and whether tvm was imported."""


def run(*command: str) -> list[str]:
    done = subprocess.run([sys.executable, *command], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def libraries() -> list[Path]:
    return sorted(cache.directory().glob("*.so"))


def test_processes_of_torchrun_compile_once_and_later_ones_not_at_all(cache_home: Path, tmp_path: Path):
    (tmp_path / "use.py").write_text(USE)
    both = run("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(tmp_path / "use.py"))
    assert sorted(both) == ["12.0 0 False", "12.0 1 False"]
    assert len(libraries()) == 1
    assert run("-c", USE) == ["12.0 0 False"]


def test_a_truncated_library_is_compiled_again(spec):
    ones = torch.ones(1, 2, 1, 4)
    bind("tvm").band_qk(ones, ones, Band(1))
    [path] = libraries()
    half = path.read_bytes()[: path.stat().st_size // 2]
    path.unlink()  # it is mapped into this process, which must not see its end go
    path.write_bytes(half)
    assert run("-c", USE) == ["12.0 1 False"]
    assert path.read_bytes() != half


def test_every_part_of_a_spec_and_every_source_is_in_the_key(spec, monkeypatch: pytest.MonkeyPatch):
    library.kernel(spec("doubling"))
    library.kernel(spec("doubling", "float64"))
    library.kernel(spec("doubling", isa="generic"))
    assert len(libraries()) == 3
    library.kernel.cache_clear()
    library.kernel(spec("doubling"))
    assert len(libraries()) == 3
    for name in ("_sources", "build_id"):
        monkeypatch.setattr(library, name, lambda: "changed")
        library.kernel.cache_clear()
        library.kernel(spec("doubling"))
    assert len(libraries()) == 5
    assert len(build_id()) == 32


@pytest.mark.parametrize("num_tasks", [1, 2, 3])
def test_without_a_linker_kernels_stay_in_memory(
    num_tasks: int, spec, doubles, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CC", raising=False)
    with caplog.at_level(logging.WARNING, "seqmem"):
        assert doubles(spec("doubling"), num_tasks)
    assert "no linker found" in caplog.text
    assert not libraries()


def test_a_failing_linker_is_named_with_its_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "linker.py").write_text("raise SystemExit('out of luck')")
    monkeypatch.setenv("CC", f"{sys.executable} {tmp_path / 'linker.py'}")
    with pytest.raises(CannotLink, match=r"linker.py -shared .* failed: out of luck"):
        link(b"")


def test_where_libraries_cannot_be_loaded_kernels_stay_in_memory(
    spec, doubles, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr(library, "link", lambda code: b"not a library")
    with caplog.at_level(logging.WARNING, "seqmem"):
        assert doubles(spec("doubling"))
    assert "stays in memory" in caplog.text


def test_without_a_cache_folder_kernels_work_the_same(spec, doubles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert doubles(spec("doubling"), num_tasks=2)


def test_compiling_apart_gives_the_same_code(spec, monkeypatch: pytest.MonkeyPatch):
    band_qk = spec("band_qk")
    monkeypatch.setenv("PYTHONPATH", "")
    monkeypatch.chdir("/")
    assert compile_apart(band_qk) == object_code(band_qk)


def test_an_error_of_the_process_that_compiles_is_one_line(spec):
    with pytest.raises(
        SeqmemError, match=r"kernel nowhere is not compiled \(exit status 1\): .*'.*kernels.nowhere'"
    ) as caught:
        compile_apart(spec("nowhere"))
    assert "\n" not in str(caught.value)


def test_a_compile_that_dies_is_named(spec, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(worker.sys, "executable", "false")
    with pytest.raises(SeqmemError, match=r"kernel band_qk is not compiled \(exit status 1\): no reason given"):
        compile_apart(spec("band_qk"))


def test_a_kernel_that_does_not_compile_is_named(spec):
    with pytest.raises(SeqmemError, match=r"cannot compile .*misspelt.*AttributeError.*no_such_name") as caught:
        library.kernel(spec("misspelt"))
    assert "\n" not in str(caught.value)

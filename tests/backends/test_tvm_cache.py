"""Kernels across processes and machines: found again without tvm, whole or compiled anew, in memory where need be."""

import logging
import subprocess
import sys
from pathlib import Path

import pytest
from seqmem.backends.tvm import kernels, library
from seqmem.backends.tvm.installed import build_id
from seqmem.backends.tvm.link import CannotLink, link

from seqmem.errors import SeqmemError
from seqmem.ops import cache

USE = """
import sys, torch
from seqmem.backends.tvm import kernels, library
from seqmem.backends.tvm.spec import Spec, host_isa
from seqmem.backends.tvm.tiles import Tiles

kernels.__path__.append(sys.argv[1])
x = torch.ones(64)
library.kernel(Spec("doubling", "float32", 64, 64, Tiles(4, 2, 24, 128), host_isa())).run([x, 1, 0.5], num_tasks=1)
print(x[0].item(), "tvm" in sys.modules)
"""


def start() -> subprocess.Popen[str]:
    """A process that doubles 1, adds 0.5 and says whether it needed tvm."""
    command = [sys.executable, "-c", USE, kernels.__path__[-1]]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def output(process: subprocess.Popen[str]) -> str:
    out, err = process.communicate()
    assert process.returncode == 0, err
    return out.strip()


def test_processes_at_once_then_one_that_needs_no_tvm(spec):
    both = [start(), start()]
    assert {output(process).split()[0] for process in both} == {"2.5"}
    assert len(list(cache.directory().glob("*.so"))) == 1
    assert output(start()) == "2.5 False"


def test_a_truncated_library_is_compiled_again(spec):
    library.kernel(spec("doubling"))
    [path] = cache.directory().glob("*.so")
    half = path.read_bytes()[: path.stat().st_size // 2]
    path.unlink()  # it is mapped into this process: cut off in place, it would take the process along
    path.write_bytes(half)
    assert output(start()) == "2.5 True"
    assert path.read_bytes() != half


def test_every_part_of_a_spec_and_every_source_is_in_the_key(spec, monkeypatch: pytest.MonkeyPatch):
    def files() -> int:
        return len(list(cache.directory().glob("*.so")))

    library.kernel(spec("doubling"))
    library.kernel(spec("doubling", "float64"))
    library.kernel(spec("doubling", isa="generic"))
    assert files() == 3
    library.kernel.cache_clear()
    library.kernel(spec("doubling"))
    assert files() == 3
    for name in ("_sources", "build_id"):
        monkeypatch.setattr(library, name, lambda: "changed")
        library.kernel.cache_clear()
        library.kernel(spec("doubling"))
    assert files() == 5
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
    assert not list(cache.directory().glob("*.so"))


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


def test_a_kernel_that_does_not_compile_is_named(spec):
    with pytest.raises(SeqmemError, match=r"cannot compile .*misspelt.*AttributeError.*no_such_name") as caught:
        library.kernel(spec("misspelt"))
    assert "\n" not in str(caught.value)

"""Kernels of the tests' own, compiled into a cache of the test's own."""

import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from seqmem.backends.tvm import compiler, kernels, library
from seqmem.backends.tvm.spec import Spec, host_isa
from seqmem.backends.tvm.tiles import Tiles

KERNELS = str(Path(__file__).with_name("kernels"))


@pytest.fixture
def cache_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's cache, empty, for this process and those it starts."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def spec(cache_home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Spec]]:
    """``spec("doubling")`` describes a kernel of ``tests/backends/kernels`` for this machine.

    Compiled in this process, since a process that compiles apart only knows the kernels that ship.
    """
    monkeypatch.setattr(kernels, "__path__", [*kernels.__path__, KERNELS])
    monkeypatch.setattr(library, "compile_apart", compiler.object_code)
    library.kernel.cache_clear()
    yield lambda kernel, dtype="float32", isa=None: Spec(kernel, dtype, 64, 64, Tiles(4, 2, 24, 128), isa or host_isa())
    library.kernel.cache_clear()


@pytest.fixture
def doubles() -> Callable[..., bool]:
    """``doubles(spec, num_tasks)``: whether that kernel makes ``2 * i + 0.5`` of every i."""

    def run(spec: Spec, num_tasks: int | None = None) -> bool:
        numbers = torch.arange(37 * spec.lanes, dtype=getattr(torch, spec.dtype))
        x = numbers.clone()
        library.kernel(spec).run(struct.pack("qqd", x.data_ptr(), 37, 0.5), num_tasks)
        return torch.equal(x, 2 * numbers + 0.5)

    return run


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)

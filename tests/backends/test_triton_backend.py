"""What the Triton backend says of itself where it cannot run, and what a kernel is compiled anew for."""

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from seqmem.backends.triton import installed, launch
from triton._C.libtriton import native_specialize_impl
from triton.backends.nvidia.compiler import CUDABackend

from seqmem.errors import SeqmemError
from seqmem.ops import Band, bind, registry


@pytest.fixture
def not_interpreted(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """As in a user's shell."""
    monkeypatch.delenv("TRITON_INTERPRET")
    monkeypatch.delitem(registry.imported, "triton", raising=False)
    installed.unavailable.cache_clear()
    yield monkeypatch
    installed.unavailable.cache_clear()


def test_without_a_gpu_it_says_what_is_missing(not_interpreted: pytest.MonkeyPatch):
    not_interpreted.setattr(torch.cuda, "is_available", lambda: False)
    not_interpreted.setattr(torch.version, "cuda", "13.0")
    with pytest.raises(SeqmemError, match=r"'triton' is not available: no NVIDIA GPU or no driver .* --backend tvm"):
        bind("triton")
    row = next(row for row in registry.survey() if row.name == "triton")
    assert not row.available
    assert "no NVIDIA GPU" in (row.reason or "")


def test_with_a_torch_for_cpus_it_says_so(not_interpreted: pytest.MonkeyPatch):
    not_interpreted.setattr(torch.version, "cuda", None)
    with pytest.raises(SeqmemError, match="is built without CUDA; install a torch for CUDA"):
        bind("triton")


def test_an_old_gpu_is_named(not_interpreted: pytest.MonkeyPatch):
    not_interpreted.setattr(torch.cuda, "is_available", lambda: True)
    not_interpreted.setattr(torch.version, "cuda", "13.0")
    not_interpreted.setattr(torch.cuda, "get_device_capability", lambda: (7, 5))
    with pytest.raises(SeqmemError, match=r"compute capability 7\.5, and 8\.0 \(A100\) or later is needed"):
        bind("triton")


def test_without_the_package_it_says_how_to_get_it(not_interpreted: pytest.MonkeyPatch):
    not_interpreted.setattr(installed, "find_spec", lambda name: None)
    with pytest.raises(SeqmemError, match=r'run: pip install "seqmem\[triton\]"'):
        bind("triton")


def test_auto_takes_it_on_a_gpu_alone():
    kernels = registry.backend("triton")
    assert kernels.auto_rank["cuda"] > registry.backend("pytorch").auto_rank["cuda"]
    assert "cpu" not in kernels.auto_rank
    assert "triton" not in bind("auto").describe("cpu")


def test_no_length_makes_another_kernel(monkeypatch: pytest.MonkeyPatch):
    kinds = defaultdict(set)

    def queue(kernel: Any, grid: tuple[int, ...], arguments: tuple[Any, ...], constants: Any, *rest: int) -> None:
        compiled_for = [native_specialize_impl(CUDABackend, argument, False, True, True) for argument in arguments]
        kinds[kernel.__name__].add(str((compiled_for, constants, rest)))

    monkeypatch.setattr(launch, "queue", queue)
    ops, r, bias = bind("triton"), torch.randn(49, 2, 16), torch.randn(1, 1, 2, 49)
    for length in (2, 16, 33, 48, 100):
        q = torch.randn(1, length, 2, 16)
        leaves = [tensor.requires_grad_() for tensor in (q, r, bias)]
        out, _ = ops.attend(q, q, q, Band(40, 8), rel=(q, r), bias=bias)
        torch.autograd.grad(out.sum(), leaves)
    assert kinds.keys() == {"attend", "attend_queries", "attend_keys", "attend_columns"}
    assert {len(found) for found in kinds.values()} == {1}


@pytest.mark.parametrize(("asked", "used"), [("highest", "ieee"), ("high", "tf32")])
def test_float32_is_exact_unless_tf32_is_asked_for(asked: str, used: str):
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(asked)
    try:
        assert launch.precision() == used
    finally:
        torch.set_float32_matmul_precision(before)

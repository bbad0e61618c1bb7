"""The band operations as TVM has them for a GPU: definitions, emitted code, machine code, and values where they run."""

import ctypes
import re
import shutil
import subprocess
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import tvm
from seqmem.backends.tvm import cuda, cuda_schedule, definitions, nvidia
from seqmem.backends.tvm.cuda_tiles import BandKernel, num_steps, num_tiles
from torch import Tensor

from seqmem.errors import SeqmemError
from seqmem.ops import Band, reference
from seqmem.ops.backend import BAND_KERNELS, accumulation_dtype

ARCHITECTURES = ("sm_80", "sm_90")
SHIM = Path(__file__).with_name("cuda_on_threads.h")

LAYOUTS = {
    "odd sizes": (2, 5, 5, 3, 7, Band(3, 1)),
    "causal, several tiles": (1, 150, 150, 1, 8, Band(70)),
    "memory": (1, 9, 90, 2, 5, Band(20)),
    "dilated, two-sided, memory": (1, 70, 83, 2, 6, Band(11, 13, 3)),
    "dilation beyond the queries": (1, 3, 120, 1, 4, Band(5, 1, 40)),
    "window beyond the keys": (1, 6, 8, 1, 4, Band(90, 90)),
}

layouts = pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
needs_nvrtc = pytest.mark.skipif(nvidia.unavailable() is not None, reason="needs NVIDIA's runtime compiler")


class Call:
    """One operation's operands, NaN in the weights outside the keys, and what the reference makes of them."""

    def __init__(self, op: str, layout: tuple, dtype: torch.dtype, device: str = "cpu"):
        torch.manual_seed(0)
        num_batch, num_queries, self.num_keys, num_heads, width, self.band = layout
        self.op, self.dtype = op, dtype
        queries = torch.randn(num_batch, num_queries, num_heads, width).to(device, dtype)
        keys = torch.randn(num_batch, self.num_keys, num_heads, width).to(device, dtype)
        p = torch.randn(num_batch, num_queries, num_heads, self.band.num_columns).to(device, accumulation_dtype(dtype))
        outside = ~self.band.columns_inside(num_queries, self.num_keys, device)
        p = p.masked_fill(outside[:, None], torch.nan)
        self.operands = {"band_qk": (queries, keys), "band_pv": (p, keys), "band_pv_t": (p, queries)}[op]

    def on(self, module) -> Tensor:
        return getattr(module, self.op)(*self.operands, self.band, *self._num_keys())

    def truth(self) -> Tensor:
        operands = [operand.double() for operand in self.operands]
        return getattr(reference, self.op)(*operands, self.band, *self._num_keys())

    def _num_keys(self) -> tuple[int, ...]:
        return (self.num_keys,) if self.op == "band_pv_t" else ()


@layouts
@pytest.mark.parametrize("op", BAND_KERNELS)
def test_definitions_on_the_host_equal_the_reference(op: str, layout: tuple):
    call = Call(op, layout, torch.float64)
    truth = call.truth()
    out = torch.full_like(truth, torch.nan)
    compiled = tvm.compile(getattr(definitions, op)("float64", "float64", layout[4]), target={"kind": "llvm"})
    first = call.band.right if op == "band_pv_t" else call.band.left
    tiles = num_tiles(out.shape[1], call.band.dilation)
    compiled[op](*call.operands, out, first, call.band.dilation, tiles, num_steps(call.band.num_columns))
    torch.testing.assert_close(out, truth)


def test_scores_outside_the_keys_are_0_even_of_a_query_that_is_not_finite():
    q, k = torch.full((1, 3, 1, 4), torch.inf, dtype=torch.float64), torch.ones(1, 3, 1, 4, dtype=torch.float64)
    out = torch.full((1, 3, 1, 3), torch.nan, dtype=torch.float64)
    compiled = tvm.compile(definitions.band_qk("float64", "float64", 4), target={"kind": "llvm"})
    compiled["band_qk"](q, k, out, 2, 1, num_tiles(3, 1), num_steps(3))
    assert torch.equal(out[0, :, 0], torch.where(Band(2).columns_inside(3, 3), torch.inf, 0).double())


@pytest.mark.parametrize("op", BAND_KERNELS)
def test_parameters_are_pointers_then_integers_by_name(op: str):
    emitted = cuda_schedule.source(BandKernel(op, "float32", 64), "sm_90")
    signature = re.search(rf"void .*{op}_kernel\((.*?)\)", emitted)
    assert signature
    names = [parameter.split()[-1] for parameter in signature[1].split(", ")]
    pointers = {"band_qk": ["k", "out", "q"], "band_pv": ["out", "p", "v"], "band_pv_t": ["g", "out", "p"]}[op]
    sizes = ["B", "C", "H", "N", "S", "dilation", "first", "steps", "tiles"]
    assert names == [f"{name}_ptr" for name in pointers] + sizes


@needs_nvrtc
@pytest.mark.parametrize("arch", ARCHITECTURES)
@pytest.mark.parametrize("op", BAND_KERNELS)
@pytest.mark.parametrize(("dtype", "width"), [("float32", 64), ("float64", 128), ("bfloat16", 80), ("float16", 48)])
def test_machine_code_without_a_gpu(op: str, arch: str, dtype: str, width: int):
    kernel = BandKernel(op, dtype, width)
    emitted = cuda_schedule.source(kernel, arch)
    assert "__shared__" in emitted
    assert "atomic" not in emitted
    cubin, report = nvidia.compile_cubin(emitted, arch)
    assert cubin.startswith(b"\x7fELF")
    assert f".text.{kernel.symbol}\0".encode() in cubin
    assert " 0 bytes spill stores, 0 bytes spill loads" in report


@needs_nvrtc
def test_machine_code_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    kernel = BandKernel("band_pv", "float32", 4)
    first = cuda.cubin(kernel, "sm_80")
    monkeypatch.setattr(cuda, "_compiled", lambda *_: pytest.fail("compiled again"))
    assert cuda.cubin(kernel, "sm_80") == first


@needs_nvrtc
def test_source_that_does_not_compile_is_one_line():
    with pytest.raises(SeqmemError, match=r"does not compile for sm_90: .*undefined") as caught:
        nvidia.compile_cubin('extern "C" __global__ void wrong() { missing = 1; }', "sm_90")
    assert "\n" not in str(caught.value)


def test_tvm_compiles_cuda_as_before_once_source_was_emitted():
    before = tvm.get_global_func("tvm_callback_cuda_compile")
    cuda_schedule.source(BandKernel("band_pv", "float32", 4), "sm_80")
    assert tvm.get_global_func("tvm_callback_cuda_compile").same_as(before)


@pytest.fixture
def gpu_of_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Emitted kernels run as C++, a CPU thread for each of a block's; what would need a device is left out."""
    if not shutil.which("c++"):
        pytest.skip("needs a C++ compiler")
    compiled: dict[BandKernel, ctypes.CDLL] = {}

    def function(kernel: BandKernel, device: int | None) -> ctypes.CDLL:
        if kernel not in compiled:
            compiled[kernel] = on_threads(kernel, tmp_path)
        return compiled[kernel]

    def launch(library, grid, num_threads, stream, pointers, sizes):
        addresses = (ctypes.c_void_p * len(pointers))(*pointers)
        library.launch(*grid, num_threads, addresses, (ctypes.c_int * len(sizes))(*sizes))

    monkeypatch.setattr(cuda, "_function", function)
    monkeypatch.setattr(nvidia, "launch", launch)
    monkeypatch.setattr(torch.cuda, "device", lambda device: nullcontext())
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: SimpleNamespace(cuda_stream=0))


def on_threads(kernel: BandKernel, folder: Path) -> ctypes.CDLL:
    kind = {"float32": "float", "float64": "double"}[kernel.dtype]
    arguments = [f"({kind}*)pointers[{i}]" for i in range(3)] + [f"sizes[{i}]" for i in range(9)]
    code = f"""
        #include "{SHIM}"
        {cuda_schedule.source(kernel, "sm_90")}
        extern "C" void launch(int x, int y, int z, int num_threads, void** pointers, int* sizes) {{
          launch_on_threads({{x, y, z}}, num_threads, [=] {{ {kernel.symbol}({", ".join(arguments)}); }});
        }}
    """
    (folder / "kernel.cpp").write_text(code)
    library = folder / f"{kernel.symbol}_{kernel.width}.so"
    flags = ["-std=c++20", "-O1", "-pthread", "-shared", "-fPIC"]
    subprocess.run(["c++", *flags, "-o", str(library), str(folder / "kernel.cpp")], check=True)
    return ctypes.CDLL(str(library))


@pytest.mark.parametrize("op", BAND_KERNELS)
def test_emitted_kernels_on_threads_equal_the_reference(op: str, gpu_of_threads: None):
    for layout in (LAYOUTS["odd sizes"], LAYOUTS["dilated, two-sided, memory"]):
        call = Call(op, layout, torch.float64)
        torch.testing.assert_close(call.on(cuda), call.truth())


def test_long_batches_take_several_launches(gpu_of_threads: None, monkeypatch: pytest.MonkeyPatch):
    call = Call("band_pv", (5, 3, 3, 1, 4, Band(1)), torch.float32)
    monkeypatch.setattr(cuda, "MOST_ROWS", 2)
    torch.testing.assert_close(call.on(cuda).double(), call.truth())
    monkeypatch.setattr(cuda, "MOST_NUMBERS", 11)
    with pytest.raises(SeqmemError, match="a row of the batch has 12 numbers"):
        call.on(cuda)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
@layouts
@pytest.mark.parametrize("dtype", cuda.DTYPES, ids=str)
@pytest.mark.parametrize("op", BAND_KERNELS)
def test_values_on_a_gpu(op: str, dtype: torch.dtype, layout: tuple):
    call = Call(op, layout, dtype, "cuda")
    out = call.on(cuda)
    torch.testing.assert_close(out, call.truth().to(out.dtype))

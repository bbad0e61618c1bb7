"""Kernels run on torch's threads, as many as torch uses, wherever torch may be used."""

import os
import struct
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from seqmem.backends.tvm import library, threads
from seqmem.backends.tvm.arguments import Layout
from torch.utils.data import DataLoader, Dataset

from seqmem.ops import Band, bind


@pytest.mark.parametrize("num_tasks", [None, 1, 2, 3, 64])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_number_of_tasks_changes_nothing(spec, doubles, two_threads, dtype: str, num_tasks: int | None):
    assert doubles(spec("doubling", dtype), num_tasks)


def team_sizes(kernel: library.Kernel, num_tasks: int | None = None) -> list[int]:
    """How many threads each task saw at work; 0 where no task was."""
    x = torch.zeros(4, dtype=torch.int64)
    kernel.run(struct.pack("q", x.data_ptr()), num_tasks)
    return x.tolist()


def test_threads_follow_torch(spec, two_threads):
    kernel = library.kernel(spec("team_size"))
    assert team_sizes(kernel) == [2, 2, 0, 0]
    assert team_sizes(kernel, num_tasks=4) == [2, 2, 2, 2]
    assert team_sizes(kernel, num_tasks=1) == [1, 0, 0, 0]
    torch.set_num_threads(1)
    assert team_sizes(kernel) == [1, 0, 0, 0]
    assert team_sizes(kernel, num_tasks=3) == [1, 1, 1, 0]


def test_no_threads_come_to_those_of_torch(spec, doubles, two_threads):
    assert doubles(spec("doubling"))
    torch.ones(1000, 1000).exp()
    before = os.listdir("/proc/self/task")
    assert doubles(spec("doubling"))
    assert os.listdir("/proc/self/task") == before


def test_cores_stay_free_to_choose(spec, doubles, two_threads):
    before = os.sched_getaffinity(0)
    assert doubles(spec("doubling"))
    tasks = [int(task) for task in os.listdir("/proc/self/task")]
    assert {frozenset(os.sched_getaffinity(task)) for task in tasks} == {frozenset(before)}


def test_without_openmp_threads_of_python_will_do(spec, doubles, two_threads, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(library, "team_of_torch", lambda: None)
    assert doubles(spec("doubling"))
    assert doubles(spec("doubling"), num_tasks=3)


def test_threads_of_python_run_at_once():
    together = threading.Barrier(3, timeout=60)
    threads.run_on_threads_of_python(lambda data, task: together.wait(), b"", 3)


def test_an_error_on_a_thread_of_python_surfaces():
    def task(data: bytes, task: int) -> None:
        raise ValueError("in a task")

    with pytest.raises(ValueError, match="in a task"):
        threads.run_on_threads_of_python(task, b"", 2)


def test_calls_from_many_threads_do_not_mix(spec, doubles, two_threads):
    kernels = [spec("doubling", dtype) for dtype in ("float32", "float64")] * 20
    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(doubles, kernels))


class Doubled(Dataset):
    """Items made by a kernel in whatever process asks for them."""

    def __init__(self, kernel: library.Kernel, lanes: int):
        self.kernel, self.lanes = kernel, lanes

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> torch.Tensor:
        x = torch.full((self.lanes,), float(index))
        self.kernel.run(struct.pack("qqd", x.data_ptr(), 1, 0.5))
        return x[0]


def test_forked_loaders_work_after_the_team_has_run(spec, doubles, two_threads):
    assert doubles(spec("doubling"))
    dataset = Doubled(library.kernel(spec("doubling")), spec("doubling").lanes)
    loader = DataLoader(dataset, num_workers=1, multiprocessing_context="fork", timeout=60)
    assert [batch.item() for batch in loader] == [0.5, 2.5, 4.5, 6.5]


def test_torch_compile_keeps_a_whole_graph(cache_home):
    ops = bind("tvm")

    def loss(q: torch.Tensor) -> torch.Tensor:
        out, lse = ops.attend(q, q, q, Band(3))
        return (out.square().sum() + lse.sum()) * 2

    q = torch.randn(1, 9, 2, 8, requires_grad=True)
    [wanted] = torch.autograd.grad(loss(q), q)
    [gradient] = torch.autograd.grad(torch.compile(loss, fullgraph=True, backend="aot_eager")(q), q)
    assert torch.equal(gradient, wanted)


def test_absent_tensors_and_plain_numbers_are_slots(spec):
    kernel = library.kernel(spec("slots"))
    x = torch.zeros(4, dtype=torch.int64)
    layout = Layout(tensors=(), addresses=("x", "absent"), integers=("count",), reals=("factor",))
    kernel.run(layout.pack({"count": -3, "factor": 1, "x": x, "absent": None}), num_tasks=1)
    assert x.tolist() == [1, 0, -3, 0x3FF0000000000000]


def test_a_strided_tensor_is_four_slots():
    layout = Layout(tensors=("q", "absent"), addresses=(), integers=())
    q = torch.zeros(5, 4, 3, 2).transpose(1, 2)
    assert struct.unpack("8q", layout.pack({"q": q, "absent": None})) == (q.data_ptr(), 24, 2, 6, 0, 0, 0, 0)
    assert [layout.slots[name] for name in ("num_tasks", "q", "q_head", "absent")] == [0, 1, 4, 5]

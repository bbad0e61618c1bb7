"""From a :class:`KernelSpec` to something that runs: compiled once, kept in the user's cache, loaded without TVM."""

import ctypes
import gc
import logging
import platform
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from threading import Thread

import torch

from seqmem.errors import SeqmemError
from seqmem.ops.cache import checksum, fetch

from .installed import build_id
from .link import CannotLink, link, linker
from .spec import KernelSpec
from .threads import Task, run_on_threads_of_python, team_of_torch
from .worker import compile_apart

log = logging.getLogger("seqmem")


class Kernel:
    """A compiled kernel.

    Args:
        task: ``seqmem_task`` of the compiled module.
        team: address of its ``seqmem_team``, which does the tasks that fall to the calling thread; None where tasks can
            only be called one by one.
    """

    def __init__(self, task: Task, team: int | None):
        self._task = task
        self._team = team

    def run(self, slots: bytes, num_tasks: int | None = None) -> None:
        """Do all of the work, and return when it is done.

        Args:
            slots: the kernel's arguments after the first, as its layout packs them. Nothing is checked.
            num_tasks: into how many shares the work is cut; by default one for each of torch's threads.
        """
        num_threads = torch.get_num_threads()
        num_tasks = num_tasks or num_threads
        data = struct.pack("q", num_tasks) + slots
        if num_tasks == 1:
            self._task(data, 0)
        elif self._team and (parallel := team_of_torch()):
            parallel(self._team, data, min(num_tasks, num_threads), 0)
        else:
            run_on_threads_of_python(self._task, data, num_tasks)


@cache
def kernel(spec: KernelSpec) -> Kernel:
    """The kernel of that description: loaded if the cache has it, else compiled.

    Raises:
        SeqmemError: the kernel does not compile.
    """
    key = checksum(repr(spec), sys.platform, platform.machine(), _sources(), build_id())
    team_of_torch()
    try:
        library = ctypes.CDLL(str(fetch(f"{spec.kernel}-{key}.so", lambda: _shared_library(spec))))
    except (CannotLink, OSError) as error:
        log.warning("kernel %s stays in memory and is compiled by every process: %s", spec.kernel, error)
        return _kernel_in_memory(spec)
    library.seqmem_task.argtypes = [ctypes.c_char_p, ctypes.c_int32]
    library.seqmem_task.restype = None
    return Kernel(library.seqmem_task, ctypes.cast(library.seqmem_team, ctypes.c_void_p).value)


@cache
def expect(spec: KernelSpec) -> None:
    """Begin to compile what will be wanted soon, beside what is wanted now; :func:`kernel` waits for it, or fails."""

    def compile_quietly() -> None:
        with suppress(SeqmemError):
            kernel(spec)

    Thread(target=compile_quietly, daemon=True).start()


def _shared_library(spec: KernelSpec) -> bytes:
    linker()  # before the work that would be lost without one
    return link(compile_apart(spec))


def _kernel_in_memory(spec: KernelSpec) -> Kernel:
    with _garbage_left_alone():
        from .compiler import task_in_memory  # only here is tvm imported into this process

        return Kernel(task_in_memory(spec), team=None)


@contextmanager
def _garbage_left_alone() -> Iterator[None]:
    """Importing tvm and reading a kernel make a million objects; collecting garbage then costs half a second."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


@cache
def _sources() -> str:
    """Checksum of everything here that may have a say in what a kernel compiles to."""
    return checksum(*(path.read_bytes() for path in sorted(Path(__file__).parent.rglob("*.py"))))

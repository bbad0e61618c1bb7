"""Makes a shared library of an object file with whatever linker the machine has."""

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path


class CannotLink(Exception):
    """There is no linker, or it failed; the message says which and why."""


def link(code: bytes) -> bytes:
    """A shared library with the content of an object file; names of the OpenMP runtime are resolved on loading.

    Raises:
        CannotLink: none of ``$CC``, cc, gcc, clang and ld is there, or the first of them failed.
    """
    flags = ["-shared", "-undefined", "dynamic_lookup"] if sys.platform == "darwin" else ["-shared"]
    with tempfile.TemporaryDirectory(prefix="seqmem-link-") as folder:
        source, target = Path(folder, "kernel.o"), Path(folder, "kernel.so")
        source.write_bytes(code)
        command = [*linker(), *flags, "-o", str(target), str(source)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            raise CannotLink(f"{shlex.join(command)} failed: {done.stderr.strip()}")
        return target.read_bytes()


def linker() -> list[str]:
    """The command that links, as :func:`link` will run it; raises CannotLink without one."""
    candidates = [shlex.split(os.environ.get("CC", "")), ["cc"], ["gcc"], ["clang"], ["ld"]]
    for command in candidates:
        if command and shutil.which(command[0]):
            return command
    raise CannotLink("no linker found ($CC, cc, gcc, clang, ld); install one, such as gcc")

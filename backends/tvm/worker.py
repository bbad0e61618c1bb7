"""Compiles in a process of its own that never imports torch, beside which importing tvm takes a second longer.

The spec goes in pickled, the object file comes out, an error is the last line of standard error.
"""

import gc
import os
import pickle
import subprocess
import sys

from seqmem.errors import SeqmemError

from .spec import KernelSpec

LEFT_OUT = ("torch", "tvm.runtime.disco")
"""Optional to tvm. Without the second, importing tvm raises no error in C++, and none has to be traced back: 0.25 s."""


def compile_apart(spec: KernelSpec) -> bytes:
    """Content of an object file with the C functions ``seqmem_task`` and ``seqmem_team``.

    Raises:
        SeqmemError: the kernel does not compile.
    """
    command = [sys.executable, "-P", "-m", __name__]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "TVM_DEVICE_BACKEND_AUTOLOAD": "0"}
    done = subprocess.run(command, input=pickle.dumps(spec), env=environment, capture_output=True)
    if done.returncode != 0:
        *_, reason = ["no reason given", *done.stderr.decode(errors="replace").strip().splitlines()]
        raise SeqmemError(f"kernel {spec.kernel} is not compiled (exit status {done.returncode}): {reason}")
    return done.stdout


def _main() -> None:
    gc.disable()  # reading a kernel makes a million objects, of which few go before the process does
    for name in LEFT_OUT:
        sys.modules[name] = None  # type: ignore[assignment]
    from .compiler import object_code

    try:
        sys.stdout.buffer.write(object_code(pickle.load(sys.stdin.buffer)))
    except SeqmemError as error:
        sys.exit(str(error))
    sys.stdout.flush()
    os._exit(0)  # taking tvm and its objects down in order lasts another tenth of a second


if __name__ == "__main__":
    _main()

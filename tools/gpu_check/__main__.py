"""All that needs a GPU to be known, in one script: ``python tools/gpu_check --json gpu.json``.

Needs torch, triton, jaxtyping and numpy, and of this repository only the files; the sections ``training`` and
``generation`` need safetensors, sentencepiece, filelock and pydantic (with pydantic_core, annotated-types and
typing-inspection) besides. Sections run in the order of their importance, each for so many minutes at most; what they
find is printed as it comes, and written as JSON after each of them. A section that fails says why, and the others run.
Without a GPU, ``--rehearse`` goes through the same steps on tiny sizes, with the kernels interpreted, to see that
nothing in the script itself fails.
"""

import argparse
import gc
import json
import os
import signal
import sys
import time
from importlib import import_module
from pathlib import Path
from types import FrameType
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]
SECTIONS = {
    "attention_speed": ("speed", 2.5),
    "determinism": ("checks", 1.5),
    "training": ("training", 3.0),
    "generation": ("generation", 0.7),
    "peak_memory": ("memory", 0.5),
    "million_tokens": ("speed", 0.5),
    "conformance": ("checks", 9.0),
}
"""Functions, the module of each, and the minutes that it may take of :data:`MINUTES`."""
MINUTES = 9


class TimeIsUp(BaseException):
    """Ends a section wherever it is; no part of one takes it for a failure of its own."""


def stop(number: int, frame: FrameType | None) -> None:
    raise TimeIsUp


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=MINUTES, help="all sections together; each has its share")
    parser.add_argument("--json", type=Path, help="write the results here as well")
    parser.add_argument("--only", nargs="*", choices=SECTIONS, help="these sections")
    parser.add_argument("--rehearse", action="store_true", help="tiny sizes, interpreted on the CPU")
    options = parser.parse_args()
    if options.rehearse:
        os.environ["TRITON_INTERPRET"] = "1"
    sys.path[:0] = [str(REPOSITORY), str(Path(__file__).parent)]
    from machine import about

    deadline = time.monotonic() + 60 * options.minutes
    results: dict[str, dict[str, Any]] = {"machine": about(options.rehearse)}
    print(results["machine"], flush=True)
    signal.signal(signal.SIGALRM, stop)
    for name in options.only or SECTIONS:
        print(f"\n== {name}", flush=True)
        results[name] = {}
        run(name, options.rehearse, results[name], options.minutes / MINUTES, deadline)
        if options.json:
            options.json.write_text(json.dumps(results, indent=1) + "\n")
    print(f"\n{json.dumps(results, indent=1)}")


def run(name: str, rehearse: bool, found: dict[str, Any], patience: float, deadline: float) -> None:
    """Have a section fill ``found`` until it ends, fails or its time is up."""
    from attempts import attempt

    module, minutes = SECTIONS[name]
    try:
        signal.setitimer(signal.ITIMER_REAL, max(1e-3, min(60 * minutes * patience, deadline - time.monotonic())))
        with attempt(found, "error"):
            getattr(import_module(module), name)(rehearse, found)
        signal.setitimer(signal.ITIMER_REAL, 0)
    except TimeIsUp:
        found["stopped"] = "the time was up"
        print(found["stopped"], flush=True)
    free_memory()


def free_memory() -> None:
    """Leave nothing of a section on the GPU for the next one."""
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


main()

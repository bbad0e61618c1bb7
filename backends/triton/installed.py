"""What Triton lacks on this machine, found out without importing it."""

import os
from functools import cache
from importlib.util import find_spec

import torch


def interpreting() -> bool:
    """Whether kernels are interpreted on a CPU, which is for looking at their values and far from fast."""
    return os.environ.get("TRITON_INTERPRET", "0") in ("1", "true", "on")


@cache
def unavailable() -> str | None:
    """Why no kernel can run here, with what mends it; None if they can."""
    if find_spec("triton") is None:
        return "package 'triton' is not installed; run: pip install \"seqmem[triton]\" (Linux only)"
    if interpreting():
        return None
    elsewhere = "use --backend tvm or pytorch here (TRITON_INTERPRET=1 interprets the kernels, slowly)"
    if torch.version.cuda is None:
        return f"torch {torch.__version__} is built without CUDA; install a torch for CUDA, or {elsewhere}"
    if not torch.cuda.is_available():
        return f"no NVIDIA GPU or no driver is here (torch.cuda.is_available() is False); {elsewhere}"
    major, minor = torch.cuda.get_device_capability()
    if major < 8:
        return f"this GPU has compute capability {major}.{minor}, and 8.0 (A100) or later is needed; {elsewhere}"
    return None

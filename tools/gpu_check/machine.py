"""Where results were found."""

import platform

import torch
import triton


def device_name(rehearse: bool) -> str:
    return "interpreted" if rehearse else torch.cuda.get_device_name()


def about(rehearse: bool) -> dict[str, str]:
    """Device and versions."""
    return {
        "device": device_name(rehearse),
        "torch": torch.__version__,
        "triton": triton.__version__,
        "python": platform.python_version(),
    }

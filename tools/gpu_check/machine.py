"""Where results were found."""

import platform

import torch
import triton


def about(rehearse: bool) -> dict[str, str]:
    """Device and versions."""
    device = "interpreted" if rehearse else torch.cuda.get_device_name()
    return {
        "device": device,
        "torch": torch.__version__,
        "triton": triton.__version__,
        "python": platform.python_version(),
    }

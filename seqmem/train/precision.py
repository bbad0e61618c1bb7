"""In which dtype a run multiplies; weights, moments and losses are float32 always."""

import torch

from seqmem.config import TrainConfig


def compute_dtype(config: TrainConfig) -> torch.dtype:
    """Of products and most activations."""
    return torch.bfloat16 if config.precision == "bfloat16" else torch.float32


def computing(config: TrainConfig, device: torch.device) -> torch.autocast:
    """While entered, models on ``device`` compute in the run's precision."""
    dtype = compute_dtype(config)
    return torch.autocast(device.type, dtype, enabled=dtype != torch.float32)

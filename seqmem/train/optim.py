"""AdamW and its learning rate."""

import math

import torch
from torch import nn

from seqmem.config import TrainConfig
from seqmem.models.model import Model


def learning_rate(step: int, config: TrainConfig) -> float:
    """Linear warm-up to ``lr`` over ``warmup_steps``, then a cosine that ends at ``min_lr`` in step ``steps``.

    In stages, linear warm-up to the rate of each, which then stays.

    Args:
        step: the step about to be taken, from 1.
    """
    for stage in config.stages:
        if step <= stage.steps:
            return stage.lr * min(1.0, step / max(1, stage.warmup_steps))
        step -= stage.steps
    if step <= config.warmup_steps:
        return config.lr * step / config.warmup_steps
    progress = (step - config.warmup_steps) / max(1, config.steps - config.warmup_steps)
    return config.min_lr + (config.lr - config.min_lr) * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


def build_optimizer(model: Model, config: TrainConfig) -> torch.optim.AdamW:
    """AdamW that decays the matrices of linear and recurrent layers; not biases, norms, the embedding or the head.

    What only auxiliary losses train is a group of its own, the last one, and does not decay.
    """
    auxiliary = model.auxiliary_parameters()
    apart = {*model.head.parameters(), *auxiliary}
    matrices = {
        parameter
        for layer in model.modules()
        if isinstance(layer, nn.Linear | nn.RNNBase)
        for parameter in layer.parameters(recurse=False)
        if parameter.ndim > 1
    } - apart
    decayed = [parameter for parameter in model.parameters() if parameter in matrices]
    kept = [parameter for parameter in model.parameters() if parameter not in {*matrices, *auxiliary}]
    groups = [{"params": decayed, "weight_decay": config.weight_decay}]
    groups += [{"params": parameters, "weight_decay": 0.0} for parameters in (kept, auxiliary) if parameters]
    return torch.optim.AdamW(groups, lr=config.lr, betas=(config.beta1, config.beta2), fused=True)

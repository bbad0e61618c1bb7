"""Encoders of ours with random weights, and Hugging Face's with the same."""

from typing import Any

import torch
import transformers
from torch import nn

from seqmem.convert.export_hf import their_tensors
from seqmem.convert.table import of_model


@torch.no_grad()
def randomised(encoder: Any) -> Any:
    """All weights with std 0.2, biases too, around 0, and those of norms around 1; outside training."""
    for module in encoder.modules():
        for name, parameter in module.named_parameters(recurse=False):
            around = float(isinstance(module, nn.LayerNorm) and name == "weight")
            nn.init.normal_(parameter, around, 0.2)
    return encoder.eval()


def twin(ours: Any, name: str, **overrides: Any) -> Any:
    """Hugging Face's model with our configuration and weights; outside training."""
    architecture = of_model(name)
    config = architecture.their_config(ours.config, {}) | overrides
    cls = getattr(transformers, architecture.lm_class)
    theirs = cls(cls.config_class(**config)).eval()
    assert not theirs.load_state_dict(their_tensors(architecture, ours, config), strict=False).unexpected_keys
    return theirs

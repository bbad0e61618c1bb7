"""How large a model is and what training it takes, found on torch's meta device: nothing is allocated."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from seqmem.models import CausalModel, ModelConfig


def num_parameters(config: ModelConfig) -> int:
    """Number of trained values; a tied weight counts once."""
    return sum(parameter.numel() for parameter in _on_meta(config).parameters())


def training_memory(config: ModelConfig, batch_size: int) -> dict[str, int]:
    """Bytes that a training step holds, by purpose.

    Activations are what autograd keeps of a step in float32, without recomputation; the scratch space of single
    operations and of the backward pass comes on top.
    """
    import torch

    model = _on_meta(config)
    weights = sum(parameter.nbytes for parameter in model.parameters())
    tokens = torch.zeros(batch_size, config.segment_len, dtype=torch.long, device="meta")
    state = model.init_state(batch_size)
    kept = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage._cdata] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        out = model(tokens, state)
        model.head.nll(out.hidden, tokens)
    for parameter in model.parameters():
        kept.pop(parameter.untyped_storage()._cdata, None)
    return {
        "parameters": weights,
        "gradients": weights,
        "AdamW moments": 2 * weights,
        "activations": sum(storage.nbytes() for storage in kept.values()),
        "carried memory": sum(tensor.nbytes for tensor in state.tensors().values()),
    }


def _on_meta(config: ModelConfig) -> CausalModel:
    import torch

    from seqmem.models import build_model
    from seqmem.ops import bind

    with torch.device("meta"):
        return build_model(config, bind("pytorch"))

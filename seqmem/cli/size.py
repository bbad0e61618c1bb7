"""How large a model is and what training it takes, found on tensors without data: nothing is allocated or computed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydantic import BaseModel
    from torch import Tensor

    from seqmem.config import TrainConfig
    from seqmem.models.registry import Registry
    from seqmem.ops import Ops
    from seqmem.train.objective import Objective


def num_parameters(builder: Registry[Any] | Objective[Any], config: BaseModel | str) -> int:
    """Number of trained values of the model that a table or an objective builds; a tied weight counts once."""
    import torch

    from seqmem.ops import bind

    with torch.device("meta"):
        return builder.build(config, bind()).num_parameters


def training_memory(
    config: BaseModel, ops: Ops, training: TrainConfig, objective: Objective[Any] | None = None
) -> dict[str, int]:
    """Bytes that training holds between the forward and the backward pass of a step, by purpose.

    The objective is the next token when absent.

    Activations are what autograd keeps of a step. The scratch space of single operations and the gradients of
    activations come on top, about 15 % for a Transformer-XL; so does what the C library holds back of freed memory,
    which on the CPU can be as much again.
    """
    import torch
    from torch._subclasses.fake_tensor import FakeTensorMode

    from seqmem.train.bmi import MutualInformation
    from seqmem.train.device import default_device
    from seqmem.train.next_token import NEXT_TOKEN
    from seqmem.train.precision import computing

    device, batch_size = default_device(), training.batch_size
    objective = (objective or NEXT_TOKEN).sized()
    kept = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage._cdata] = storage
        return tensor

    # Unlike meta tensors, fake ones say which device they are on, so that ops choose the backend that will train.
    with FakeTensorMode(), device, torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        model = objective.build(config, ops)
        batch = objective.example(config, batch_size)
        state = objective.init_state(model, batch_size)
        with computing(training, device):
            losses, _ = objective.losses(model, batch, state)
            sum(losses.values())
            parameters = [*model.parameters()]
            if training.bmi.is_on:
                bmi = MutualInformation(training.bmi, model)
                bmi.losses(model, batch[0], training.steps)
                parameters += bmi.critic.parameters()
    for parameter in parameters:
        kept.pop(parameter.untyped_storage()._cdata, None)
    weights = sum(parameter.nbytes for parameter in parameters)
    return {
        "parameters": weights,
        "gradients": weights,
        "AdamW moments": 2 * weights,
        "activations": sum(storage.nbytes() for storage in kept.values()),
        "carried memory": sum(tensor.nbytes for tensor in state.tensors().values()),
    }

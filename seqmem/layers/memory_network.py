"""The network that is Titans' memory: an MLP whose weights are data, and the gradients of its loss in closed form.

Layer l maps ``a_{l-1}`` to ``z_l = a_{l-1} W_l`` and ``a_l = SiLU(z_l)``, without biases; ``a_0 = k`` and the last z is
what it gives. A token's gradient of ``|M(k) - v|^2`` is an outer product in every layer, ``a_{l-1}^T d_l``, where
``d = 2 (z - v)`` in the last layer and ``d_l = u_l o SiLU'(z_l)`` with ``u_l = d_{l+1} W_{l+1}^T`` before.

A step along it changes ``M(k) - v`` by its own direction times ``kappa = sum_l |a_{l-1}|^2 |d_l|^2 / |d|^2``, to first
order: 1 in a matrix that learns a key of length 1; in a deeper network more and more as its weights grow, until steps
overshoot and it runs away. So a step is divided by kappa where that is above 1. The paper has no such thing.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Surprise:
    """Gradients of every token by itself, all at the same weights; a tensor ``[N, c, width]`` a layer.

    Args:
        inputs: a, beginning with the keys.
        hidden: z of all layers but the last.
        arriving: u of all layers but the last.
        deltas: d.
        calm: what d is multiplied by in steps, ``1 / max(1, kappa)``, ``[N, c, 1]``.
    """

    inputs: list[Tensor]
    hidden: list[Tensor]
    arriving: list[Tensor]
    deltas: list[Tensor]
    calm: Tensor

    @property
    def steps(self) -> list[Tensor]:
        """What the weights learn by: d, calmed."""
        return [self.calm * d for d in self.deltas] if len(self.deltas) > 1 else self.deltas


def read(weights: Sequence[Float[Tensor, "... i o"]], q: Float[Tensor, "... T i"]) -> Float[Tensor, "... T o"]:
    """``M(q)`` for weights that stay as they are."""
    x = q @ weights[0]
    for weight in weights[1:]:
        x = torch.nn.functional.silu(x) @ weight
    return x


def surprise(weights: Sequence[Tensor], k: Float[Tensor, "N c i"], v: Float[Tensor, "N c o"]) -> Surprise:
    """Gradients of every token's loss (equation 12)."""
    inputs, hidden = [k], []
    for weight in weights[:-1]:
        hidden.append(inputs[-1] @ weight)
        inputs.append(torch.nn.functional.silu(hidden[-1]))
    deltas = [2 * (inputs[-1] @ weights[-1] - v)]
    arriving: list[Tensor] = []
    for weight, z in zip(weights[:0:-1], hidden[::-1], strict=True):
        arriving.insert(0, deltas[0] @ weight.mT)
        deltas.insert(0, arriving[0] * slope(z))
    kappa = sum(_square(a) * _square(d) for a, d in zip(inputs, deltas, strict=True)) / _error(deltas)
    return Surprise(inputs, hidden, arriving, deltas, 1 / torch.as_tensor(kappa).clamp(min=1))


def _square(x: Tensor) -> Tensor:
    return x.square().sum(-1, keepdim=True)


def _error(deltas: list[Tensor]) -> Tensor:
    return _square(deltas[-1]).clamp(min=torch.finfo(deltas[-1].dtype).tiny)


def add_calm(of: Surprise, for_inputs: list[Tensor], for_steps: list[Tensor]) -> None:
    """Turn gradients of steps into those of d, in place, and add to those of a what reaches them through kappa."""
    if len(of.deltas) == 1:
        return
    error = _error(of.deltas)
    for_calm = torch.stack([(grad * d).sum(-1, keepdim=True) for grad, d in zip(for_steps, of.deltas, strict=True)])
    for_kappa = torch.where(of.calm < 1, -2 * for_calm.sum(0) * of.calm.square(), 0) / error
    for a, d, for_a, for_d in zip(of.inputs, of.deltas, for_inputs, for_steps, strict=True):
        for_a.addcmul_(a, for_kappa * _square(d))
        for_d.mul_(of.calm).addcmul_(d, for_kappa * _square(a))
    for_steps[-1].addcmul_(of.deltas[-1], -for_kappa / of.calm)


def slope(z: Tensor) -> Tensor:
    """SiLU'."""
    gate = z.sigmoid()
    return gate * (1 + z * (1 - gate))


def curvature(z: Tensor) -> Tensor:
    """SiLU''."""
    gate = z.sigmoid()
    return gate * (1 - gate) * (2 + z * (1 - 2 * gate))

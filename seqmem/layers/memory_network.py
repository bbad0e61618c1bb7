"""The network that is Titans' memory: an MLP whose weights are data, and the gradients of its loss in closed form.

Layer l maps ``a_{l-1}`` to ``z_l = a_{l-1} W_l`` and ``a_l = SiLU(z_l)``, without biases; ``a_0 = k`` and the last z is
what it gives. A token's gradient of ``|M(k) - v|^2`` is an outer product in every layer, ``a_{l-1}^T d_l``, where
``d = 2 (z - v)`` in the last layer and ``d_l = u_l o SiLU'(z_l)`` with ``u_l = d_{l+1} W_{l+1}^T`` before.
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
    """

    inputs: list[Tensor]
    hidden: list[Tensor]
    arriving: list[Tensor]
    deltas: list[Tensor]


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
    return Surprise(inputs, hidden, arriving, deltas)


def slope(z: Tensor) -> Tensor:
    """SiLU'."""
    gate = z.sigmoid()
    return gate * (1 + z * (1 - gate))


def curvature(z: Tensor) -> Tensor:
    """SiLU''."""
    gate = z.sigmoid()
    return gate * (1 - gate) * (2 + z * (1 - 2 * gate))

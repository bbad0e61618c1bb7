"""Layer normalisation of many vectors at once, whose gradients may be asked for some at a time."""

from typing import Any, NamedTuple

import torch
from torch import Tensor


class Normed(NamedTuple):
    """Vectors ``x [..., d]``, themselves normalised, before gain and bias, and how."""

    x: Tensor
    normed: Tensor
    mean: Tensor
    rstd: Tensor

    @classmethod
    def of(cls, x: Tensor, eps: float) -> "Normed":
        """Normalise."""
        return cls(x, *torch.native_layer_norm(x, x.shape[-1:], None, None, eps))

    def at(self, *index: Any) -> "Normed":
        """Some of them."""
        return Normed(*(tensor[index] for tensor in self))

    def rows(self) -> "list[Normed]":
        """Each of the first axis."""
        return [Normed(*row) for row in zip(*self, strict=True)]

    def back(self, grad: Tensor, gain: Tensor) -> Tensor:
        """The vectors' gradient."""
        size = self.x.shape[-1:]
        return torch.ops.aten.native_layer_norm_backward(
            grad, self.x, size, self.mean, self.rstd, gain, None, [True, False, False]
        )[0]

    def affine(self, gain: Tensor, bias: Tensor) -> Tensor:
        """Normalised, with gain and bias."""
        return self.normed * gain + bias

    def weights(self, grad: Tensor) -> tuple[Tensor, Tensor]:
        """Gradients of gain and bias."""
        return (grad * self.normed).flatten(0, -2).sum(0), grad.flatten(0, -2).sum(0)

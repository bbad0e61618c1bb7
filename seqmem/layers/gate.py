"""WaveNet's gated activation (van den Oord et al. 2016, equation 2)."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable


class GatedActivation(torch.autograd.Function):
    """``GatedActivation.apply(gates [..., 2 * G]) -> tanh(filters) * sigmoid(gates) [..., G]``, filters first.

    The tanh is ``2 * sigmoid(2 * x) - 1``, several times faster on CPUs; both gradients go to one tensor, without a
    join.
    """

    @staticmethod
    def forward(ctx, gates: Float[Tensor, "... 2G"]) -> Float[Tensor, "... G"]:
        filters, gates = gates.chunk(2, -1)
        filtered, opened = (2 * filters).sigmoid_().mul_(2).sub_(1), gates.sigmoid()
        ctx.save_for_backward(filtered, opened)
        return filtered * opened

    @staticmethod
    @once_differentiable
    def backward(ctx, dz):
        filtered, opened = ctx.saved_tensors
        both = dz.new_empty(*dz.shape[:-1], 2 * dz.shape[-1])
        dfilters, dgates = both.chunk(2, -1)
        product = dz * opened
        torch.ops.aten.tanh_backward.grad_input(product, filtered, grad_input=dfilters)
        torch.mul(dz, filtered, out=product)
        torch.ops.aten.sigmoid_backward.grad_input(product, opened, grad_input=dgates)
        return both

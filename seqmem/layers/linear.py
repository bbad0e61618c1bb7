"""Affine maps, by whichever library multiplies large float32 matrices fastest on a CPU."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

MIN_PRODUCTS = 1 << 30


class Linear(nn.Linear):
    """``nn.Linear``; large products on a CPU are oneDNN's, which lays the weights out anew for each call.

    That costs little from :data:`MIN_PRODUCTS` multiplications on, and pays on processors that MKL, which ``nn.Linear``
    calls, is not tuned for (``python tools/bench linear``). Weights' own gradients stay with MKL.
    """

    def forward(self, input: Tensor) -> Tensor:
        return linear(input, self.weight, self.bias)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``x W' + b``: ``[..., i] -> [..., o]`` for weights ``[o, i]``."""
    if _is_for_onednn(x, weight):
        return OneDNNLinear.apply(x, weight, bias)
    return nn.functional.linear(x, weight, bias)


def _is_for_onednn(x: Tensor, weight: Tensor) -> bool:
    return (
        x.device.type == "cpu"
        and x.dim() > 1
        and x.dtype == weight.dtype == torch.float32
        and x.numel() * len(weight) >= MIN_PRODUCTS
        and bool(torch.backends.mkldnn.enabled)
        and torch.backends.mkldnn.is_available()
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
    )


def _product(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")


class OneDNNLinear(torch.autograd.Function):
    """:func:`linear` by oneDNN forward and for the gradient of ``x``; once differentiable."""

    @staticmethod
    def forward(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return _product(x, weight, bias)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor | None], output: Tensor) -> None:
        ctx.save_for_backward(*inputs[:2])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        for_x, for_weight, for_bias = ctx.needs_input_grad
        rows = grad.flatten(0, -2)
        return (
            _product(grad, weight.t().contiguous(), None) if for_x else None,
            rows.t() @ x.flatten(0, -2) if for_weight else None,
            rows.sum(0) if for_bias else None,
        )

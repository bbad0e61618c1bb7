"""Large products by oneDNN against PyTorch's own, and where they are left alone."""

import pytest
import torch
import torch.nn.functional as F

from seqmem.layers import linear as module
from seqmem.layers.linear import Linear, linear

pytestmark = pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="this PyTorch has no oneDNN")


@pytest.fixture
def calls(monkeypatch):
    """Products that oneDNN computed; every one is large enough."""
    counted = []
    product = module._product
    monkeypatch.setattr(module, "MIN_PRODUCTS", 1)
    monkeypatch.setattr(module, "_product", lambda *operands: counted.append(operands) or product(*operands))
    return counted


def operands():
    """Rows and weights that are views, as models have them."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(3, 7, 20, 2, generator=generator)[..., 0].transpose(0, 1).requires_grad_()
    weight = torch.randn(22, 20, generator=generator)[::2].requires_grad_()
    return x, weight, torch.randn(11, generator=generator).requires_grad_()


@pytest.mark.parametrize("with_bias", [True, False])
def test_values_and_gradients(calls, with_bias):
    x, weight, bias = operands()
    bias = bias if with_bias else None
    inputs = [operand for operand in (x, weight, bias) if operand is not None]
    grad = torch.randn(7, 3, 11, generator=torch.Generator().manual_seed(1))
    ours, theirs = linear(x, weight, bias), F.linear(x, weight, bias)
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(torch.autograd.grad(ours, inputs, grad), torch.autograd.grad(theirs, inputs, grad))
    assert len(calls) == 2


def test_frozen_weights_cost_no_gradient(calls):
    x, weight, bias = operands()
    (grad,) = torch.autograd.grad(linear(x, weight.detach(), bias.detach()).sum(), x)
    torch.testing.assert_close(grad, weight.sum(0).expand_as(x))


def test_functional_gradients(calls):
    x, weight, bias = (operand.detach() for operand in operands())
    grad = torch.func.grad(lambda weight: linear(x, weight, bias).sum())(weight)
    torch.testing.assert_close(grad, x.sum((0, 1)).expand_as(weight))


@pytest.mark.parametrize("case", ["float64", "autocast", "one row", "no row", "compiled", "small"])
def test_others_are_left_to_pytorch(calls, case, monkeypatch):
    x, weight, bias = (operand.detach() for operand in operands())
    if case == "float64":
        x, weight, bias = x.double(), weight.double(), bias.double()
    if case == "small":
        monkeypatch.setattr(module, "MIN_PRODUCTS", x.numel() * len(weight) + 1)
    x = {"one row": x[0, 0], "no row": x[:0]}.get(case, x)
    function = torch.compile(linear, backend="eager") if case == "compiled" else linear
    with torch.autocast("cpu", torch.bfloat16, enabled=case == "autocast"):
        torch.testing.assert_close(function(x, weight, bias), F.linear(x, weight, bias), rtol=0, atol=0)
    assert not calls


def test_layer_is_torchs_own_in_all_else(calls):
    layer = Linear(20, 11)
    assert layer.state_dict().keys() == torch.nn.Linear(20, 11).state_dict().keys()
    x = operands()[0]
    torch.testing.assert_close(layer(x), F.linear(x, layer.weight, layer.bias))
    assert calls

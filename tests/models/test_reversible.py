"""Reversible residual branches against the plain sum: values, gradients, random numbers, memory."""

import pytest
import torch
from torch import nn

from seqmem.layers.reversible import Branch, reversible

WIDTH = 6


def make(num_branches: int, dropout: float = 0.0, piece_len: int | None = None) -> list[Branch]:
    """Branches in float64 of which each mixes tokens, but for those in pieces."""
    torch.manual_seed(0)
    branches = []
    for _ in range(num_branches):
        module = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.Tanh(), nn.Dropout(dropout)).double()
        mix = (lambda x: x) if piece_len else (lambda x: x.cumsum(1))
        branches.append(Branch(lambda x, m=module, mix=mix: m(mix(x)), (*module.parameters(),), piece_len))
    return branches


def plain(branches: list[Branch], x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Equation 7 of the paper, two branches at a time."""
    x1 = x2 = x
    for f, g in zip(branches[::2], branches[1::2], strict=True):
        x1 = x1 + torch.cat([f.function(piece) for piece in f.pieces(x2)], 1)
        x2 = x2 + torch.cat([g.function(piece) for piece in g.pieces(x1)], 1)
    return x1, x2


def gradients(function, branches, x):
    torch.manual_seed(3)
    y1, y2 = function(branches, x)
    loss = (y1.square() + y2.sin()).sum()
    return loss, torch.autograd.grad(loss, [x, *(p for branch in branches for p in branch.parameters)])


@pytest.mark.parametrize("piece_len", [None, 1, 3, 50])
@pytest.mark.parametrize("dropout", [0.0, 0.4])
def test_values_and_gradients_are_those_of_the_plain_sum(dropout, piece_len):
    branches = make(8, dropout, piece_len)
    x = torch.randn(2, 7, WIDTH).double().requires_grad_()
    ours, theirs = gradients(reversible, branches, x), gradients(plain, branches, x)
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)


def test_gradients_by_finite_differences():
    branches = make(4)
    x = torch.randn(1, 3, WIDTH).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: reversible(branches, x), x)


def test_random_numbers_go_on_after_the_backward_pass_as_if_there_had_been_none():
    branches = make(2, 0.5)
    x = torch.randn(1, 3, WIDTH).double().requires_grad_()
    drawn = []
    for backward in (False, True):
        torch.manual_seed(1)
        y, _ = reversible(branches, x)
        if backward:
            y.sum().backward()
        drawn.append(torch.rand(3))
    assert torch.equal(*drawn)


def test_frozen_parameters_and_shared_ones():
    branches = make(4)
    for parameter in branches[0].parameters:
        parameter.requires_grad_(False)
    branches[3] = branches[1]
    x = torch.randn(2, 3, WIDTH).double()
    grads = {}
    for function in (reversible, plain):
        y1, y2 = function(branches, x)
        shared = branches[1].parameters
        grads[function] = torch.autograd.grad((y1 * y2).sum(), shared)
        assert not any(parameter.grad is not None for parameter in branches[0].parameters)
    torch.testing.assert_close(grads[reversible], grads[plain])


def test_autocast_is_that_of_the_forward_pass():
    dtypes = []
    layer = nn.Linear(WIDTH, WIDTH)

    def function(x):
        out = layer(x)
        dtypes.append(out.dtype)
        return out

    x = torch.randn(1, 3, WIDTH, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        y, _ = reversible([Branch(function, (*layer.parameters(),))] * 2, x)
    y.sum().backward()
    assert dtypes == [torch.bfloat16] * 4
    assert y.dtype == x.grad.dtype == torch.float32


def test_twice_is_refused():
    x = torch.randn(1, 3, WIDTH).double().requires_grad_()
    y, _ = reversible(make(2), x)
    (grad,) = torch.autograd.grad(y.square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        grad.sum().backward()

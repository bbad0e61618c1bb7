"""Residual branches whose inputs are computed again from their outputs (Gomez et al. 2017; Kitaev et al. 2020)."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

Pair = tuple[Float[Tensor, "B T d"], Float[Tensor, "B T d"]]


@dataclass(frozen=True)
class Branch:
    """A function of a residual network, ``[B, T, d] -> [B, T, d]``.

    Args:
        function: gives the same when it is called again in the same state of the random number generators.
        parameters: all that it depends on.
        piece_len: of a function of each token alone, how many tokens to take at a time; all when absent.
    """

    function: Callable[[Tensor], Tensor]
    parameters: tuple[nn.Parameter, ...]
    piece_len: int | None = None

    def pieces(self, x: Tensor) -> tuple[Tensor, ...]:
        """Of the tokens, what the function is called with."""
        return x.split(self.piece_len or x.shape[1], 1)


def reversible(branches: Sequence[Branch], x: Float[Tensor, "B T d"]) -> Pair:
    """``a, b = b, a + branch(b)`` for every branch, from ``a = b = x``; two branches are a layer of the paper.

    Of all that happens in between, what is kept for gradients is the last pair: ``b`` and ``a`` before a branch are
    found from those after it, and the branch is computed again, with the random numbers and under the autocast of
    the first time. The gradients are those of the plain sum, but for the rounding of what is found again. Once
    differentiable.
    """
    if not torch.is_grad_enabled():
        return _through(branches, x, x)
    parameters = [parameter for branch in branches for parameter in branch.parameters]
    return _Reversible.apply(branches, x, x, *parameters)


def _through(branches: Sequence[Branch], a: Tensor, b: Tensor) -> Pair:
    for branch in branches:
        a, b = b, a + torch.cat([branch.function(piece) for piece in branch.pieces(b)], 1)
    return a, b


class _Reversible(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, branches: Sequence[Branch], a: Tensor, b: Tensor, *parameters: nn.Parameter) -> Pair:
        ctx.branches, ctx.circumstances = branches, []
        for branch in branches:
            ctx.circumstances.append(Circumstances.now(b.device))
            a, b = _through([branch], a, b)
        ctx.save_for_backward(a, b)
        return a, b

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, da: Tensor, db: Tensor) -> tuple[Any, ...]:
        b, result = ctx.saved_tensors
        by_branch = []
        for branch, circumstances in zip(reversed(ctx.branches), reversed(ctx.circumstances), strict=True):
            with circumstances.restored():
                added, through, gradients = _differentiated(branch, b, db)
            b, result = result - added, b
            da, db = db, da + through
            by_branch.append(gradients)
        return None, da, db, *(gradient for gradients in reversed(by_branch) for gradient in gradients)


def _differentiated(branch: Branch, x: Tensor, grad: Tensor) -> tuple[Tensor, Tensor, list[Tensor | None]]:
    """What a branch adds, and gradients of its input and of its parameters."""
    learned = [parameter for parameter in branch.parameters if parameter.requires_grad]
    sums: dict[nn.Parameter, Tensor] = {}
    added, through = [], []
    for piece, piece_grad in zip(branch.pieces(x), branch.pieces(grad), strict=True):
        with torch.enable_grad():
            piece = piece.detach().requires_grad_()
            out = branch.function(piece)
        for_piece, *for_learned = torch.autograd.grad(
            out, [piece, *learned], piece_grad.to(out.dtype), allow_unused=True
        )
        added.append(out.detach())
        through.append(for_piece)
        for parameter, gradient in zip(learned, for_learned, strict=True):
            if gradient is not None:
                sums[parameter] = sums[parameter] + gradient if parameter in sums else gradient
    return torch.cat(added, 1), torch.cat(through, 1), [sums.get(parameter) for parameter in branch.parameters]


@dataclass(frozen=True)
class Circumstances:
    """What a computation depends on besides its operands.

    Args:
        device: that computes.
        random: states of the generators of the CPU and, where that is another, of the device.
        autocast: dtype of products; None where autocast is off.
    """

    device: torch.device
    random: tuple[Tensor, ...]
    autocast: torch.dtype | None

    @classmethod
    def now(cls, device: torch.device) -> "Circumstances":
        random = [torch.get_rng_state()]
        if device.type == "cuda":
            random.append(torch.cuda.get_rng_state(device))
        is_on = torch.is_autocast_enabled(device.type)
        return cls(device, tuple(random), torch.get_autocast_dtype(device.type) if is_on else None)

    @contextmanager
    def restored(self) -> Iterator[None]:
        """While entered, it is as it was then; afterwards as it is now."""
        cuda = [self.device] if self.device.type == "cuda" else []
        autocast = torch.autocast(self.device.type, self.autocast, enabled=self.autocast is not None)
        with torch.random.fork_rng(cuda), autocast:
            torch.set_rng_state(self.random[0])
            for state in self.random[1:]:
                torch.cuda.set_rng_state(state, self.device)
            yield

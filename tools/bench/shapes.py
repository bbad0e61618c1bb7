"""Shapes of windowed attention, and how much useful work each is."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from seqmem.ops import Band, bind

PRODUCTS = {
    # Multiplications by D of every visible score, forward, and forward with backward. The backward pass of attention
    # has five: scores again, dP, dV, dQ, dK; relative positions add one, and in the backward three: again, dqr, dr.
    "attend": (2, 7),
    "attend with rel": (3, 11),
    "band_qk": (1, 3),
    "band_pv": (1, 3),
}


@dataclass(frozen=True)
class Shape:
    """Self-attention of T tokens, ``[B, T, H, D]`` in float32.

    Attributes:
        W: tokens of a causal window, self included; with ``two_sided``, W // 2 neighbours on each side.
        rel: with relative positions as an operand.
        op: ``attend``, or one of the band kernels.
    """

    B: int = 1
    T: int = 4096
    H: int = 8
    D: int = 64
    W: int = 512
    dilation: int = 1
    two_sided: bool = False
    rel: bool = False
    op: str = "attend"

    def __str__(self) -> str:
        window = f"{self.W // 2} neighbours on each side" if self.two_sided else f"causal window {self.W}"
        notes = [f"dilation {self.dilation}"] * (self.dilation > 1) + ["rel"] * self.rel
        return ", ".join([f"{self.op} B{self.B} T{self.T} H{self.H} D{self.D}", window, *notes])

    @property
    def band(self) -> Band:
        if self.two_sided:
            return Band(self.W // 2, self.W // 2, self.dilation)
        return Band(self.W - 1, 0, self.dilation)

    @property
    def num_visible(self) -> int:
        """Pairs of a query and a key that it sees, of one batch row and head."""
        left, right, dilation = self.band.left, self.band.right, self.band.dilation
        return sum(min(left, i // dilation) + 1 + min(right, (self.T - 1 - i) // dilation) for i in range(self.T))

    def operations(self, both_ways: bool) -> int:
        """Useful floating point operations, forward or forward and backward; a product of D numbers is 2 D."""
        num_products = PRODUCTS[self.op + " with rel" * self.rel][both_ways]
        return num_products * 2 * self.D * self.B * self.H * self.num_visible


class Operands:
    """Random operands of a shape, the same every time, and with ``both_ways`` the gradient of its result."""

    def __init__(self, shape: Shape, both_ways: bool):
        self.shape = shape
        self.both_ways = both_ways
        B, T, H, D = shape.B, shape.T, shape.H, shape.D
        C = shape.band.num_columns
        generator = torch.Generator().manual_seed(0)

        def normal(*size: int) -> Tensor:
            return torch.randn(*size, generator=generator)

        self.q, self.k, self.v = (normal(B, T, H, D) for _ in range(3))
        self.rel = (normal(B, T, H, D), normal(C, H, D)) if shape.rel else None
        self.p = normal(B, T, H, C) if shape.op == "band_pv" else None
        self.dout = normal(B, T, H, C if shape.op == "band_qk" else D)
        self.inputs = (self.q, self.k, self.v, *(self.rel or ()))
        if shape.op == "band_qk":
            self.inputs = (self.q, self.k)
        elif self.p is not None:
            self.inputs = (self.p, self.v)
        for tensor in self.inputs:
            tensor.requires_grad_(both_ways)

    def seqmem(self, backend: str) -> Callable[[], Tensor]:
        """The operation as this project computes it."""
        q, k, v, p, band, ops = self.q, self.k, self.v, self.p, self.shape.band, bind(backend)
        if self.shape.op == "band_qk":
            return lambda: ops.band_qk(q, k, band)
        if p is not None:
            return lambda: ops.band_pv(p, v, band)
        return lambda: ops.attend(q, k, v, band, rel=self.rel)[0]

    def repeated(self, run: Callable[[], Tensor]) -> Callable[[], tuple[Tensor, ...]]:
        """What is timed: the operation, and with ``both_ways`` its gradients."""
        if self.both_ways:
            return lambda: torch.autograd.grad(run(), self.inputs, self.dout)
        return lambda: (run(),)

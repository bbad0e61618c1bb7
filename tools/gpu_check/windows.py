"""Who computes windowed attention: this project, and FlexAttention, each on operands of its own."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import create_block_mask, flex_attention

from seqmem.ops import Band, bind


@dataclass(frozen=True)
class Shape:
    """Attention in a causal window of ``window`` tokens, and where its operands are."""

    batch: int
    length: int
    heads: int
    width: int
    window: int
    device: str = "cuda"
    dtype: torch.dtype = torch.bfloat16

    def operations(self, products: int) -> float:
        """Useful ones: of keys that a query sees."""
        pairs = self.length * self.window - self.window * (self.window - 1) / 2
        return 2 * products * self.batch * self.heads * self.width * pairs

    def draw(self, *size: int) -> Tensor:
        """A random operand."""
        return torch.randn(size, device=self.device, dtype=self.dtype).requires_grad_()

    def draw_bias(self) -> Tensor:
        """Of each head and column, oldest first, ``[H, C]``."""
        return torch.randn(self.heads, self.window, device=self.device).requires_grad_()


@dataclass(frozen=True)
class Contender:
    """A call: what computes it, what of it wants gradients, and the gradient of its result."""

    forward: Callable[[], Tensor]
    leaves: list[Tensor]
    dout: Tensor

    def both(self) -> None:
        """Forward and all gradients."""
        torch.autograd.grad(self.forward(), self.leaves, self.dout)


def triton(shape: Shape, extra: str = "") -> Contender:
    """This project; ``extra`` is a ``"bias"`` or relative positions, ``"rel"``."""
    size = (shape.batch, shape.length, shape.heads, shape.width)
    q, k, v, dout = (shape.draw(*size) for _ in range(4))
    attend = partial(bind("triton").attend, q, k, v, Band(shape.window - 1))
    if extra == "bias":
        bias = shape.draw_bias()
        return Contender(lambda: attend(bias=bias[None, None])[0], [q, k, v, bias], dout)
    if extra == "rel":
        rel = shape.draw(*size), shape.draw(shape.window, *size[2:])
        return Contender(lambda: attend(rel=rel)[0], [q, k, v, *rel], dout)
    return Contender(lambda: attend()[0], [q, k, v], dout)


def flex(shape: Shape, extra: str = "") -> Contender:
    """FlexAttention, compiled, in the layout that it likes best; relative positions as an operand are beyond it."""

    def near(b, h, query, key):
        return (query >= key) & (query - key < shape.window)

    table = shape.draw_bias()

    def biased(score, b, h, query, key):
        # It is asked for keys that the mask hides as well, and an index beyond the table would end the process.
        return score + table[h, shape.window - 1 - (query - key).clamp(0, shape.window - 1)]

    q, k, v, dout = (shape.draw(shape.batch, shape.heads, shape.length, shape.width) for _ in range(4))
    mask = create_block_mask(near, None, None, shape.length, shape.length, device=shape.device)
    compiled = torch.compile(flex_attention)
    if extra == "bias":
        return Contender(partial(compiled, q, k, v, biased, mask), [q, k, v, table], dout)
    return Contender(partial(compiled, q, k, v, None, mask), [q, k, v], dout)


OURS = {
    "triton": triton,
    "triton, bias [H, C]": partial(triton, extra="bias"),
    "triton, relative positions": partial(triton, extra="rel"),
}
FLEX = {"FlexAttention": flex, "FlexAttention, bias [H, C]": partial(flex, extra="bias")}

"""Operands for an operation, and what it makes of them: outputs and gradients."""

import zlib
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from seqmem.ops import Band, Blocks, Gather
from seqmem.ops.backend import TIERS
from seqmem.ops.pattern import Pattern
from seqmem.testing.layouts import Layout


@dataclass
class Problem:
    """Operands of one operation, drawn from a seed that is a function of the problem's name.

    Args:
        operands: tensors that gradients are taken of.
        fixed: arguments that have none.
    """

    op: str
    layout: Layout
    dtype: torch.dtype
    device: str
    operands: dict[str, Tensor]
    fixed: dict[str, object]
    pattern: Pattern

    @classmethod
    def make(cls, op: str, layout: Layout, dtype: torch.dtype, option: str, device: str) -> "Problem":
        generator = torch.Generator().manual_seed(zlib.crc32(f"{op}{layout.name}{option}".encode()))

        def draw(*shape: int) -> Tensor:
            drawn = torch.randn(shape, generator=generator, dtype=torch.float64)
            return drawn.to(dtype).to(device)

        n = layout
        pattern = n.pattern(generator)
        if isinstance(pattern, Gather):
            index_valid = None if pattern.valid is None else pattern.valid.to(device)
            pattern = Gather(pattern.index.to(device), index_valid, pattern.causal)
        if isinstance(pattern, Blocks):
            pattern = replace(pattern, layout=pattern.layout.to(device))
        columns = pattern.num_columns if isinstance(pattern, Band) else n.S
        columns = pattern.index.shape[-1] if isinstance(pattern, Gather) else columns
        operands = {name: draw(*shape) for name, shape in _shapes(op, n, columns).items()}
        if op in TIERS[2]:
            bound = {"gate": torch.sigmoid, "log_decay": lambda decay: -decay.abs()}
            operands |= {name: bound[name](operands[name]) for name in bound.keys() & operands.keys()}
        fixed: dict[str, object] = {}
        if option in ("bias", "all") and not isinstance(pattern, Blocks):
            operands["bias"] = draw(n.B, n.T, n.H, columns)
        if option == "bias per head" and not isinstance(pattern, Blocks):
            operands["bias"] = draw(1, 1, n.H, columns)
            operands["bias"][..., -1] = -torch.inf
        if option in ("rel", "all") and isinstance(pattern, Band):
            operands["qr"], operands["r"] = draw(n.B, n.T, n.H, n.D), draw(columns, n.H, n.D)
        if option in ("valid", "all"):
            valid = torch.rand(n.B, n.S, generator=generator) < 0.6
            valid[0] = False
            fixed["valid"] = valid.to(device)
        if option in ("dropout", "all"):
            fixed |= {"dropout": 0.3, "seed": 2**40 + 7}
        if op == "causal_conv1d":
            fixed |= {"dilation": 2, "groups": n.H}
        return cls(op, layout, dtype, device, operands, fixed, pattern)

    def call(self, module, operands: dict[str, Tensor]) -> tuple[Tensor, ...]:
        """Run the operation as :class:`Ops` or the reference has it."""
        op, pattern = self.op, self.pattern
        if op == "attend":
            rest = dict(operands)
            q, k, v = rest.pop("q"), rest.pop("k"), rest.pop("v")
            rel = (rest.pop("qr"), rest.pop("r")) if "qr" in rest else None
            return module.attend(q, k, v, pattern, rel=rel, **rest, **self.fixed)
        if op in TIERS[2]:
            return getattr(module, op)(**operands, **self.fixed)
        extra = (self.layout.S,) if op == "band_pv_t" else ()
        return (getattr(module, op)(*operands.values(), pattern, *extra),)

    def differentiable(self) -> dict[str, Tensor]:
        """The operands as leaves; a bias with -inf in it is a constant mask."""
        return {
            name: tensor.detach().clone().requires_grad_(bool(tensor.isfinite().all()))
            for name, tensor in self.operands.items()
        }

    def outcome(self, module, dtype: torch.dtype) -> dict[str, Tensor]:
        """Outputs, and gradients of fixed random weightings of them, computed in ``dtype``."""
        leaves = {name: tensor.to(dtype) for name, tensor in self.differentiable().items()}
        leaves = {name: leaf.detach().requires_grad_(self.wants(name)) for name, leaf in leaves.items()}
        outputs = self.call(module, leaves)
        generator = torch.Generator().manual_seed(1)
        total = torch.zeros((), dtype=torch.float64, device=self.device)
        for output in outputs:
            weight = torch.randn(output.shape, generator=generator, dtype=torch.float64).to(self.dtype)
            finite = output.isfinite()
            total = total + (output.where(finite, 0).double() * weight.to(self.device)).sum()
        wanted = {name: leaf for name, leaf in leaves.items() if leaf.requires_grad}
        gradients = torch.autograd.grad(total, list(wanted.values()))
        result = {f"output {i}": output.detach() for i, output in enumerate(outputs)}
        return result | {f"d{name}": gradient for name, gradient in zip(wanted, gradients, strict=True)}

    def wants(self, name: str) -> bool:
        return bool(self.operands[name].isfinite().all())


def _shapes(op: str, n: Layout, columns: int) -> dict[str, tuple[int, ...]]:
    """Shapes of an operation's operands, in the order in which it takes them."""
    q, k, v = (n.B, n.T, n.H, n.D), (n.B, n.S, n.H, n.D), (n.B, n.S, n.H, n.E)
    p, g = (n.B, n.T, n.H, columns), (n.B, n.T, n.H, n.E)
    wide, taps = n.H * n.D, 3
    shapes: dict[str, dict[str, tuple[int, ...]]] = {
        "band_qk": {"q": q, "k": k},
        "band_pv": {"p": p, "v": v},
        "band_pv_t": {"p": p, "g": g},
        "attend": {"q": q, "k": k, "v": v},
        "scan": {"gate": q, "x": q, "initial": (n.B, n.H, n.D)},
        "linear_attention": {
            "q": q,
            "k": k,
            "v": v,
            "log_decay": (n.B, n.T, n.H),
            "initial": (n.B, n.H, n.D, n.E),
        },
        "causal_conv1d": {
            "x": (n.B, n.T, wide),
            "weight": (n.H * n.E, n.D, taps),
            "bias": (n.H * n.E,),
            "state": (n.B, 2 * (taps - 1), wide),
        },
    }
    return shapes[op]

"""The suite any backend can run: operation x pattern x dtype x odd shape, values and gradients against the oracle.

With pytest::

    @pytest.mark.parametrize("case", seqmem.testing.cases("mybackend"), ids=str)
    def test_conformance(case):
        case.run()

or ``seqmem.testing.run("mybackend")``, which fails if a case fails or if every case was skipped.
"""

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import product
from unittest import SkipTest

import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from seqmem.ops import BackendUnsupported, Band, Dense, Gather, Ops, bind, merge, reference
from seqmem.ops.pattern import Pattern
from seqmem.testing.poison import poisoned_memory
from seqmem.testing.tolerances import assert_within_budget


@dataclass(frozen=True)
class Layout:
    """Sizes and the pattern over them."""

    name: str
    B: int
    T: int
    S: int
    H: int
    D: int
    E: int
    pattern: Callable[[torch.Generator], Pattern]
    large: bool = False


def _band(*args) -> Callable[[torch.Generator], Pattern]:
    return lambda generator: Band(*args)


def _gather(B: int, S: int, G: int, H: int | None = None, causal: bool = False) -> Callable[[torch.Generator], Pattern]:
    def make(generator: torch.Generator) -> Pattern:
        shape = (B, S) if H is None else (B, H, S)
        index = torch.rand(shape, generator=generator).argsort(-1)[..., :G]
        return Gather(index, torch.rand(index.shape, generator=generator) < 0.7, causal)

    return make


BANDS = (
    Layout("window wider than T", 2, 7, 7, 2, 4, 4, _band(9)),
    Layout("memory, E != D", 1, 33, 50, 3, 8, 5, _band(6)),
    Layout("columns == D", 2, 19, 19, 2, 5, 5, _band(4)),
    Layout("two-sided", 1, 40, 43, 2, 4, 6, _band(3, 2)),
    Layout("dilated two-sided", 1, 37, 45, 2, 4, 4, _band(3, 1, 3)),
    Layout("one query", 2, 1, 9, 2, 4, 4, _band(8)),
    Layout("self only", 1, 6, 8, 1, 3, 2, _band(0)),
    Layout("per head", 2, 21, 26, 4, 4, 4, _band((2, 5, 2, 5), (0, 1, 0, 0), (1, 2, 1, 2))),
    Layout("all tuples, odd order", 1, 17, 17, 3, 4, 4, _band((1, 4, 1), 1, (2, 1, 2))),
    Layout("across tiles", 1, 161, 173, 2, 8, 8, _band(30, 5), large=True),
    Layout("across tiles, dilated", 1, 401, 409, 2, 8, 8, _band(10, 0, 3), large=True),
)
NAMED = (
    Layout("dense", 2, 9, 13, 2, 4, 5, lambda generator: Dense()),
    Layout("dense, T > S", 1, 11, 3, 2, 4, 4, lambda generator: Dense()),
    Layout("gather", 2, 9, 13, 2, 4, 5, _gather(2, 13, 5)),
    Layout("gather causal", 2, 12, 12, 2, 4, 4, _gather(2, 12, 6, causal=True)),
    Layout("gather per head", 2, 8, 15, 3, 4, 4, _gather(2, 15, 4, H=3)),
    Layout("dense across blocks", 1, 300, 70, 2, 8, 8, lambda generator: Dense(), large=True),
)
OPTIONS = ("plain", "bias", "bias per head", "rel", "valid", "dropout", "all")
DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)
CHECKS = ("values", "gradcheck", "poison", "strides", "repeat")


@dataclass(frozen=True)
class Case:
    """One check of one operation; :meth:`run` raises AssertionError, or SkipTest with the backend's reasons."""

    backend: str
    device: str
    op: str
    layout: Layout
    dtype: torch.dtype
    option: str
    check: str

    def __str__(self) -> str:
        dtype = str(self.dtype).removeprefix("torch.")
        return "-".join((self.op, self.layout.name, dtype, self.option, self.check)).replace(" ", "_")

    def run(self) -> None:
        try:
            _CHECKS[self.check](Problem.make(self), bind(self.backend))
        except BackendUnsupported as error:
            raise SkipTest(str(error)) from None


@dataclass
class Problem:
    """Operands of a case, drawn from a seed that is a function of the case's name."""

    case: Case
    operands: dict[str, Tensor]
    fixed: dict[str, object]
    pattern: Pattern

    @classmethod
    def make(cls, case: Case) -> "Problem":
        generator = torch.Generator().manual_seed(zlib.crc32(f"{case.op}{case.layout.name}{case.option}".encode()))

        def draw(*shape: int) -> Tensor:
            drawn = torch.randn(shape, generator=generator, dtype=torch.float64)
            return drawn.to(case.dtype).to(case.device)

        n = case.layout
        pattern = n.pattern(generator)
        if isinstance(pattern, Gather):
            index_valid = None if pattern.valid is None else pattern.valid.to(case.device)
            pattern = Gather(pattern.index.to(case.device), index_valid, pattern.causal)
        columns = pattern.num_columns if isinstance(pattern, Band) else n.S
        columns = pattern.index.shape[-1] if isinstance(pattern, Gather) else columns
        shapes = {"q": (n.B, n.T, n.H, n.D), "k": (n.B, n.S, n.H, n.D), "v": (n.B, n.S, n.H, n.E)}
        shapes |= {"p": (n.B, n.T, n.H, columns), "g": (n.B, n.T, n.H, n.E)}
        wanted = {"band_qk": "qk", "band_pv": "pv", "band_pv_t": "pg"}.get(case.op, "qkv")
        operands = {name: draw(*shapes[name]) for name in wanted}
        fixed: dict[str, object] = {}
        if case.option in ("bias", "all"):
            operands["bias"] = draw(n.B, n.T, n.H, columns)
        if case.option == "bias per head":
            operands["bias"] = draw(1, 1, n.H, columns)
            operands["bias"][..., -1] = -torch.inf
        if case.option in ("rel", "all") and isinstance(pattern, Band):
            operands["qr"], operands["r"] = draw(n.B, n.T, n.H, n.D), draw(columns, n.H, n.D)
        if case.option in ("valid", "all"):
            valid = torch.rand(n.B, n.S, generator=generator) < 0.6
            valid[0] = False
            fixed["valid"] = valid.to(case.device)
        if case.option in ("dropout", "all"):
            fixed |= {"dropout": 0.3, "seed": 2**40 + 7}
        return cls(case, operands, fixed, pattern)

    def call(self, module, operands: dict[str, Tensor]) -> tuple[Tensor, ...]:
        """Run the operation as :class:`Ops` or the reference has it."""
        op, pattern = self.case.op, self.pattern
        if op == "attend":
            rest = dict(operands)
            q, k, v = rest.pop("q"), rest.pop("k"), rest.pop("v")
            rel = (rest.pop("qr"), rest.pop("r")) if "qr" in rest else None
            return module.attend(q, k, v, pattern, rel=rel, **rest, **self.fixed)
        extra = (self.case.layout.S,) if op == "band_pv_t" else ()
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
        total = torch.zeros((), dtype=torch.float64, device=self.case.device)
        for output in outputs:
            weight = torch.randn(output.shape, generator=generator, dtype=torch.float64).to(self.case.dtype)
            finite = output.isfinite()
            total = total + (output.where(finite, 0).double() * weight.to(self.case.device)).sum()
        wanted = {name: leaf for name, leaf in leaves.items() if leaf.requires_grad}
        gradients = torch.autograd.grad(total, list(wanted.values()))
        result = {f"output {i}": output.detach() for i, output in enumerate(outputs)}
        return result | {f"d{name}": gradient for name, gradient in zip(wanted, gradients, strict=True)}

    def wants(self, name: str) -> bool:
        return bool(self.operands[name].isfinite().all())


def _check_values(problem: Problem, ops: Ops) -> None:
    got = problem.outcome(ops, problem.case.dtype)
    truth = problem.outcome(reference, torch.float64)
    low = problem.outcome(reference, problem.case.dtype)
    for name in truth:
        assert_within_budget(got[name], truth[name], low[name].to(problem.case.dtype), name)


def _check_gradients(problem: Problem, ops: Ops) -> None:
    leaves = problem.differentiable()
    names = [name for name, leaf in leaves.items() if leaf.requires_grad]

    def function(*values: Tensor) -> tuple[Tensor, ...]:
        outputs = problem.call(ops, leaves | dict(zip(names, values, strict=True)))
        return tuple(output.where(output.isfinite(), 0) for output in outputs)

    inputs = [leaves[name] for name in names]
    assert gradcheck(function, inputs, fast_mode=True, check_undefined_grad=False)
    if problem.case.op != "attend":
        assert gradgradcheck(function, inputs, fast_mode=True, check_undefined_grad=False)


def _check_poison(problem: Problem, ops: Ops) -> None:
    if problem.case.op in ("band_pv", "band_pv_t"):
        band = problem.pattern
        assert isinstance(band, Band)
        _poison_outside(problem.operands["p"], band, problem.case.layout)
    with poisoned_memory():
        got = problem.outcome(ops, problem.case.dtype)
    for name, want in problem.outcome(reference, problem.case.dtype).items():
        bad = int(got[name].isnan().sum())
        assert not bad, f"{name}: {bad} NaN of {want.numel()} come from unwritten memory or from outside the keys"
        torch.testing.assert_close(got[name], want, atol=1e-4, rtol=1e-4)


def _poison_outside(p: Tensor, band: Band, n: Layout) -> None:
    hull = band.hull()
    for head, own in enumerate(band.of_heads(n.H)):
        columns = slice(hull.left - own.left, hull.left + own.right + 1)
        inside = own.columns_inside(n.T, n.S, p.device)
        mine = p[:, :, head, columns].clone()
        p[:, :, head] = torch.nan
        p[:, :, head, columns] = mine.masked_fill(~inside, torch.nan)


def _check_strides(problem: Problem, ops: Ops) -> None:
    expected = problem.call(ops, problem.operands)
    strided = {}
    for name, tensor in problem.operands.items():
        wide = torch.full((*tensor.shape[:-1], 2 * tensor.shape[-1]), 7.0, dtype=tensor.dtype, device=tensor.device)
        strided[name] = (
            wide[..., ::2].copy_(tensor) if name != "k" else tensor.transpose(0, 1).contiguous().transpose(0, 1)
        )
    for got, want in zip(problem.call(ops, strided), expected, strict=True):
        torch.testing.assert_close(got, want, atol=1e-5, rtol=1e-5)


def _check_repeat(problem: Problem, ops: Ops) -> None:
    first, second = problem.outcome(ops, problem.case.dtype), problem.outcome(ops, problem.case.dtype)
    for name in first:
        assert torch.equal(first[name], second[name]), f"{name} differs between two runs"


def _check_union(problem: Problem, ops: Ops) -> None:
    """Merging parts equals attention to all keys, rows empty in some parts and in all."""
    q, k, v = (problem.operands[name] for name in "qkv")
    half = torch.arange(k.shape[1], device=k.device) < k.shape[1] // 2
    valid = problem.fixed.get("valid")
    valid = torch.ones_like(k[..., 0, 0], dtype=torch.bool) if valid is None else valid
    assert isinstance(valid, Tensor)
    leaves, truth = ([tensor.detach().clone().requires_grad_() for tensor in (q, k, v)] for _ in range(2))
    q, k, v = leaves
    out, lse = merge([ops.attend(q, k, v, problem.pattern, valid=valid & side) for side in (half, ~half)])
    q, k, v = truth
    want, want_lse = reference.attend(q, k, v, problem.pattern, valid=valid)
    torch.testing.assert_close((out, lse), (want, want_lse))
    finite = want_lse.isfinite()
    got = torch.autograd.grad(out.square().sum() + lse[finite].sum(), leaves)
    expected = torch.autograd.grad(want.square().sum() + want_lse[finite].sum(), truth)
    torch.testing.assert_close(got, expected)


_CHECKS: dict[str, Callable[[Problem, Ops], None]] = {
    "values": _check_values,
    "gradcheck": _check_gradients,
    "poison": _check_poison,
    "strides": _check_strides,
    "repeat": _check_repeat,
    "union": _check_union,
}


def cases(backend: str, device: str = "cpu", dtypes: tuple[torch.dtype, ...] = DTYPES) -> list[Case]:
    """Every case for a backend, those it does not support included: they skip with its reasons."""
    return list(_cases(backend, device, dtypes))


def _cases(backend: str, device: str, dtypes: tuple[torch.dtype, ...]) -> Iterator[Case]:
    f64 = torch.float64
    for layout, op in product(BANDS, ("band_qk", "band_pv", "band_pv_t")):
        for dtype in dtypes:
            yield Case(backend, device, op, layout, dtype, "plain", "values")
        yield Case(backend, device, op, layout, torch.float32, "plain", "poison")
        if not layout.large:
            yield Case(backend, device, op, layout, f64, "plain", "gradcheck")
            yield Case(backend, device, op, layout, f64, "plain", "strides")
    for layout, option in product((*BANDS, *NAMED), OPTIONS):
        if option == "rel" and layout in NAMED:
            continue
        for dtype in dtypes:
            yield Case(backend, device, "attend", layout, dtype, option, "values")
        yield Case(backend, device, "attend", layout, torch.float32, option, "poison")
        yield Case(backend, device, "attend", layout, torch.float32, option, "repeat")
        if not layout.large:
            yield Case(backend, device, "attend", layout, f64, option, "gradcheck")
            yield Case(backend, device, "attend", layout, f64, option, "strides")
    for layout, option in product((*BANDS, *NAMED), ("plain", "valid")):
        yield Case(backend, device, "attend", layout, f64, option, "union")


@dataclass
class Report:
    """Outcome of :func:`run`; skipped cases by reason. Only on a Band is a pass the backend's own work for certain."""

    passed: int = 0
    passed_on_bands: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    skipped: dict[str, int] = field(default_factory=dict)


def run(backend: str, device: str = "cpu", dtypes: tuple[torch.dtype, ...] = DTYPES) -> Report:
    """Run every case.

    Raises:
        AssertionError: a case failed, or none on a Band ran.
    """
    report = Report()
    for case in cases(backend, device, dtypes):
        try:
            case.run()
            report.passed += 1
            report.passed_on_bands += case.layout in BANDS
        except SkipTest as reason:
            report.skipped[str(reason)] = report.skipped.get(str(reason), 0) + 1
        except Exception as error:
            report.failed[str(case)] = f"{type(error).__name__}: {error}"
    listed = "\n".join(f"{name}: {why}" for name, why in report.failed.items())
    assert not report.failed, f"{len(report.failed)} of {report.passed + len(report.failed)} failed:\n{listed}"
    assert report.passed_on_bands, f"every case on a Band was skipped: {'; '.join(report.skipped)}"
    return report

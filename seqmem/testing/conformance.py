"""The suite any backend can run: operation x pattern x dtype x odd shape, values and gradients against the oracle.

With pytest::

    @pytest.mark.parametrize("case", seqmem.testing.cases("mybackend"), ids=str)
    def test_conformance(case):
        case.run()

or ``seqmem.testing.run("mybackend")``, which fails if a case fails or if every case was skipped.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import product
from unittest import SkipTest

import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from seqmem.ops import BackendUnsupported, Band, Ops, bind, merge, reference
from seqmem.ops.backend import BAND_KERNELS, TIERS
from seqmem.testing.layouts import BANDS, NAMED, SEQUENCES, Layout
from seqmem.testing.poison import poisoned_memory
from seqmem.testing.problem import Problem
from seqmem.testing.tolerances import assert_within_budget

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
            problem = Problem.make(self.op, self.layout, self.dtype, self.option, self.device)
            _CHECKS[self.check](problem, bind(self.backend))
        except BackendUnsupported as error:
            raise SkipTest(str(error)) from None


def _check_values(problem: Problem, ops: Ops) -> None:
    got = problem.outcome(ops, problem.dtype)
    truth = problem.outcome(reference, torch.float64)
    low = problem.outcome(reference, problem.dtype)
    for name in truth:
        assert_within_budget(got[name], truth[name], low[name].to(problem.dtype), name)


def _check_gradients(problem: Problem, ops: Ops) -> None:
    leaves = problem.differentiable()
    names = [name for name, leaf in leaves.items() if leaf.requires_grad]

    def function(*values: Tensor) -> tuple[Tensor, ...]:
        outputs = problem.call(ops, leaves | dict(zip(names, values, strict=True)))
        return tuple(output.where(output.isfinite(), 0) for output in outputs)

    inputs = [leaves[name] for name in names]
    assert gradcheck(function, inputs, fast_mode=True, check_undefined_grad=False)
    if problem.op in BAND_KERNELS:
        assert gradgradcheck(function, inputs, fast_mode=True, check_undefined_grad=False)


def _check_poison(problem: Problem, ops: Ops) -> None:
    if problem.op in ("band_pv", "band_pv_t"):
        band = problem.pattern
        assert isinstance(band, Band)
        _poison_outside(problem.operands["p"], band, problem.layout)
    with poisoned_memory():
        got = problem.outcome(ops, problem.dtype)
    for name, want in problem.outcome(reference, problem.dtype).items():
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
    first, second = problem.outcome(ops, problem.dtype), problem.outcome(ops, problem.dtype)
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
    """Every case for a backend in ``dtypes``; those that it does not support skip with its reasons."""
    return list(_cases(backend, device, dtypes))


def _cases(backend: str, device: str, dtypes: tuple[torch.dtype, ...]) -> Iterator[Case]:
    widest = max(dtypes, key=lambda dtype: dtype.itemsize)
    has_f64 = widest == torch.float64
    for layout, op in product(BANDS, ("band_qk", "band_pv", "band_pv_t")):
        for dtype in dtypes:
            yield Case(backend, device, op, layout, dtype, "plain", "values")
        yield Case(backend, device, op, layout, torch.float32, "plain", "poison")
        if not layout.large:
            yield Case(backend, device, op, layout, widest, "plain", "strides")
        if not layout.large and has_f64:
            yield Case(backend, device, op, layout, widest, "plain", "gradcheck")
    for layout, option in product((*BANDS, *NAMED), OPTIONS):
        if option == "rel" and layout in NAMED:
            continue
        for dtype in dtypes:
            yield Case(backend, device, "attend", layout, dtype, option, "values")
        yield Case(backend, device, "attend", layout, torch.float32, option, "poison")
        yield Case(backend, device, "attend", layout, torch.float32, option, "repeat")
        if not layout.large:
            yield Case(backend, device, "attend", layout, widest, option, "strides")
        if not layout.large and has_f64:
            yield Case(backend, device, "attend", layout, widest, option, "gradcheck")
    for layout, option in product((*BANDS, *NAMED), ("plain", "valid")):
        yield Case(backend, device, "attend", layout, widest, option, "union")
    for layout, op in product(SEQUENCES, TIERS[2]):
        for dtype in (dtype for dtype in dtypes if dtype.itemsize > 2):
            yield Case(backend, device, op, layout, dtype, "plain", "values")
        if not layout.large and has_f64:
            yield Case(backend, device, op, layout, widest, "plain", "gradcheck")


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

"""The Triton backend under torch's own machinery, and scores far from 0; the kernels are interpreted."""

from collections.abc import Callable

import pytest
import torch
from seqmem.backends.triton import convolution, linear_attention, scan

from seqmem.ops import Band, Dense, bind, reference

OPS = bind("triton")


def leaves(*shapes: tuple[int, ...]) -> list[torch.Tensor]:
    return [
        torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape))).requires_grad_() for shape in shapes
    ]


def test_opcheck_of_the_recurrences():
    gate, x, initial = leaves((2, 5, 3), (2, 5, 3), (2, 3))
    torch.library.opcheck(scan.run, (gate, x, initial, False))
    q, v, decay, state = leaves((2, 5, 2, 3), (2, 5, 2, 4), (2, 5, 2), (2, 2, 3, 4))
    torch.library.opcheck(linear_attention.run, (q, q, v, -decay.detach().abs(), state, False, False))
    x, weight, bias = leaves((2, 9, 4), (6, 2, 3), (6,))
    torch.library.opcheck(convolution.run, (x, weight, bias, 2, 2))


def test_opcheck_of_attend():
    q, k, v, bias, qr, r = leaves((2, 6, 2, 4), (2, 8, 2, 4), (2, 8, 2, 3), (1, 1, 2, 5), (2, 6, 2, 4), (5, 2, 4))
    static = ("Band", [3, 1, 1], 0.5, 0.0, "triton", False)
    torch.library.opcheck(torch.ops.seqmem.attend, (q, k, v, bias, qr, r, None, None, None, None, *static))


def attention(q: torch.Tensor, k: torch.Tensor) -> torch.Tensor:
    out, lse = OPS.attend(q, k, k, Band(3))
    return out.square().sum() + lse.sum()


def recurrences(gate: torch.Tensor, q: torch.Tensor, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    scanned, attended = OPS.scan(gate, q), OPS.linear_attention(q, q, q, -gate[..., 0].abs())
    return sum(result.square().sum() for result in (*scanned, *attended, *OPS.causal_conv1d(x, weight, groups=4)))


@pytest.mark.parametrize(
    ("function", "shapes"),
    [
        (attention, [(2, 6, 2, 4), (2, 8, 2, 4)]),
        (recurrences, [(2, 6, 2, 4), (2, 6, 2, 4), (2, 6, 4), (4, 1, 3)]),
    ],
)
def test_compile_keeps_one_graph_and_the_values(function: Callable, shapes: list[tuple[int, ...]]):
    operands = leaves(*shapes)
    eager = function(*operands)
    again = torch.compile(function, fullgraph=True, backend="aot_eager")(*operands)
    torch.testing.assert_close(again, eager)
    wanted, got = torch.autograd.grad(eager, operands), torch.autograd.grad(again, operands)
    torch.testing.assert_close(got, wanted)


def test_autocast_casts_what_is_multiplied():
    q, r, gate, x, weight = leaves((2, 6, 2, 4), (4, 2, 4), (2, 6, 2), (2, 6, 4), (6, 4, 3))
    decay, bias = -gate.detach().abs(), torch.ones(6)

    def results() -> list[torch.Tensor]:
        attended = OPS.attend(q, q, q, Band(3), rel=(q, r), bias=torch.ones(1, 1, 2, 4))
        return [*attended, *OPS.linear_attention(q, q, q, decay), *OPS.causal_conv1d(x, weight, bias)]

    with torch.autocast("cpu", torch.float16):
        halves = results()
        assert OPS.scan(gate, gate.half())[0].dtype == torch.float32
    half, full = torch.float16, torch.float32
    assert [result.dtype for result in halves] == [half, full, half, full, half, half]
    wanted = results()
    for got, want in zip(halves, wanted, strict=True):
        torch.testing.assert_close(got.float(), want, rtol=0.02, atol=0.02)
    gradients = torch.autograd.grad(sum(got.float().sum() for got in halves), (q, r, x, weight))
    exact = torch.autograd.grad(sum(want.sum() for want in wanted), (q, r, x, weight))
    for gradient, expected in zip(gradients, exact, strict=True):
        assert gradient.dtype == full
        torch.testing.assert_close(gradient, expected, rtol=0.02, atol=0.05)


@pytest.mark.parametrize("offset", [-3e4, 3e4])
@pytest.mark.parametrize("pattern", [Band(40), Dense()], ids=str)
def test_scores_far_from_zero(pattern: Band | Dense, offset: float):
    q, k = (tensor.detach() for tensor in leaves((1, 150, 1, 8), (1, 150, 1, 8)))
    columns = 41 if isinstance(pattern, Band) else 150
    out, lse = OPS.attend(q, k, k, pattern, bias=torch.full((1, 1, 1, columns), offset))
    want, want_lse = reference.attend(q.double(), k.double(), k.double(), pattern)
    torch.testing.assert_close(out.double(), want, atol=3e-3, rtol=0)  # float32 near 30,000
    torch.testing.assert_close(lse.double() - offset, want_lse, atol=6e-3, rtol=0)


def test_convolutions_of_many_inputs_and_groups():
    plain = bind("pytorch")
    for groups, inputs, outputs in ((1, 20, 70), (2, 24, 10), (70, 1, 1), (1, 1, 3)):
        x, weight, bias = leaves((2, 9, groups * inputs), (groups * outputs, inputs, 3), (groups * outputs,))
        found, wanted = (ops.causal_conv1d(x, weight, bias, 2, groups)[0] for ops in (OPS, plain))
        torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-4)
        seed = torch.randn_like(wanted)
        got, want = (torch.autograd.grad(out, (x, weight, bias), seed) for out in (found, wanted))
        torch.testing.assert_close(got, want, atol=1e-4, rtol=1e-4)

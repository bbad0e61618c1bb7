"""The operators under torch's own machinery: opcheck, torch.compile, autocast, copying; memory as promised."""

import copy
import pickle
import subprocess
import sys

import pytest
import torch

from seqmem.ops import Band, Dense, Gather, bind, reference
from seqmem.ops.dropout import row_keys

OPS = bind("pytorch")
LIBRARY = torch.ops.seqmem


def draw(*shape, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape))).to(dtype)


def leaves(*shapes):
    return [draw(*shape).requires_grad_() for shape in shapes]


def test_opcheck_of_the_band_kernels():
    q, k, p = leaves((2, 6, 2, 4), (2, 8, 2, 4), (2, 6, 2, 5))
    torch.library.opcheck(LIBRARY.band_qk, (q, k, 3, 1, 1, "pytorch"))
    torch.library.opcheck(LIBRARY.band_pv, (p, k, 3, 1, 1, "pytorch"))
    torch.library.opcheck(LIBRARY.band_pv_t, (p, q, 8, 3, 1, 1, "pytorch"))


@pytest.mark.parametrize("optional", [False, True])
def test_opcheck_of_attend(optional):
    q, k, v, bias, qr, r = leaves((2, 6, 2, 4), (2, 8, 2, 4), (2, 8, 2, 3), (1, 1, 2, 5), (2, 6, 2, 4), (5, 2, 4))
    extras = [bias, qr, r, torch.rand(2, 8) < 0.8] if optional else [None] * 4
    keys = row_keys(3, 2, 2, "cpu") if optional else None
    static = ("Band", [3, 1, 1], 0.5, 0.2 if optional else 0.0, "pytorch", False)
    torch.library.opcheck(LIBRARY.attend, (q, k, v, *extras, None, None, keys, *static))


def test_opcheck_of_attend_to_named_keys():
    q, k = leaves((2, 6, 2, 4), (2, 8, 2, 4))
    index = torch.tensor([[0, 3, 7], [1, 2, 5]])
    static = ("Gather", [1], 0.5, 0.0, "defaults", True)
    torch.library.opcheck(LIBRARY.attend, (q, k, k, None, None, None, None, index, None, None, *static))


def test_compile_keeps_one_graph_and_the_values():
    def function(q, k, v, bias, seed):
        out, lse = OPS.attend(q, k, v, Band(3), bias=bias, dropout=0.1, seed=seed)
        named, _ = OPS.attend(q, k, v, Gather(torch.zeros(2, 1, dtype=torch.int64), causal=True))
        dense, _ = OPS.attend(q, k, v, Dense(), valid=torch.ones(2, k.shape[1], dtype=torch.bool))
        scores = OPS.band_qk(q, k, Band((1, 2), 1))
        return (out + named + dense).square().sum() + lse.sum() + scores.sum()

    operands = leaves((2, 6, 2, 4), (2, 8, 2, 4), (2, 8, 2, 4), (1, 1, 2, 4))
    compiled = torch.compile(function, fullgraph=True, backend="aot_eager")
    eager = function(*operands, torch.tensor(5))
    again = compiled(*operands, torch.tensor(5))
    torch.testing.assert_close(again, eager)
    torch.testing.assert_close(torch.autograd.grad(again, operands), torch.autograd.grad(eager, operands))
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(compiled(*operands, torch.tensor(5)), function(*operands, torch.tensor(5)))


AUTOCAST = {
    "attend": lambda q, k, v, p, bias: OPS.attend(q, k, v, Band(3), rel=(q, k[0, :4]), bias=bias),
    "attend, by head": lambda q, k, v, p, bias: OPS.attend(q, k, v, Band((1, 3), 0), bias=bias),
    "attend, unfused": lambda q, k, v, p, bias: OPS.attend(q, k, v, Dense(), fused=False),
    "attend to named keys": lambda q, k, v, p, bias: OPS.attend(q, k, v, Gather(torch.tensor([[0, 3], [1, 2]]))),
    "band_qk": lambda q, k, v, p, bias: (OPS.band_qk(q, k, Band(3)),),
    "band_pv": lambda q, k, v, p, bias: (OPS.band_pv(p, v, Band(3)),),
    "band_pv_t": lambda q, k, v, p, bias: (OPS.band_pv_t(p, q, Band(3), 8),),
    "linear_attention": lambda q, k, v, p, bias: OPS.linear_attention(q, k[:, 2:], v[:, 2:], -p[..., 0].abs()),
    "causal_conv1d": lambda q, k, v, p, bias: OPS.causal_conv1d(q[..., 0], k[0], state=q[:, :3, :, 1]),
}


@pytest.mark.parametrize("name", AUTOCAST)
def test_autocast_casts_what_is_multiplied_and_nothing_inside(name):
    operation = AUTOCAST[name]
    q, k, v, p, bias = leaves((2, 6, 2, 4), (2, 8, 2, 4), (2, 8, 2, 4), (2, 6, 2, 4), (1, 1, 2, 4))
    with torch.autocast("cpu", torch.bfloat16):
        results = operation(q, k, v, p, bias)
    cast = operation(q.bfloat16(), k.bfloat16(), v.bfloat16(), p, bias)
    for result, wanted in zip(results, cast, strict=True):
        assert result.dtype == wanted.dtype
        assert torch.equal(result, wanted)
    full = operation(q, k, v, p, bias)
    assert all((result - wanted).abs().max() < 0.1 for result, wanted in zip(results, full, strict=True))
    (gradient,) = torch.autograd.grad(sum(result.float().sum() for result in results), q, allow_unused=True)
    assert gradient is None or gradient.dtype == torch.float32


def test_autocast_reaches_usage_and_leaves_float64():
    q, k = draw(2, 6, 2, 4), draw(2, 8, 2, 4)
    with torch.autocast("cpu", torch.bfloat16):
        _, lse = OPS.attend(q, k, k, Band(3))
        usage = OPS.key_usage(q, k.bfloat16(), Band(3), lse)
        precise, _ = OPS.attend(q.double(), k.double(), k.double(), Band(3))
    assert usage.dtype == torch.float32
    torch.testing.assert_close(usage.sum(1), torch.full((2, 2), 6.0))
    assert torch.equal(precise, OPS.attend(q.double(), k.double(), k.double(), Band(3))[0])


def test_half_scores_are_float32_and_float32_weights_meet_half_values():
    q, k = draw(1, 5, 1, 4, dtype=torch.bfloat16), draw(1, 7, 1, 4, dtype=torch.bfloat16)
    scores = OPS.band_qk(q, k, Band(2))
    assert scores.dtype == torch.float32
    assert OPS.band_pv(scores, k, Band(2)).dtype == torch.bfloat16


def test_fused_has_no_second_derivative_and_names_the_way():
    q, k, v = (draw(1, 4, 1, 3, dtype=torch.float64).requires_grad_() for _ in range(3))
    out, _ = OPS.attend(q, k, v, Band(2))
    (gradient,) = torch.autograd.grad(out.square().sum(), q, create_graph=True)
    with pytest.raises(RuntimeError, match="fused=False"):
        gradient.sum().backward()


@pytest.mark.parametrize(
    "pattern", [Band(2, 1), Band((1, 2), 0, (2, 1)), Dense(), Gather(torch.tensor([[0, 3]]))], ids=str
)
def test_unfused_is_twice_differentiable_and_equal(pattern):
    q, k, v = (draw(1, 5, 2, 3, dtype=torch.float64).requires_grad_() for _ in range(3))
    columns = {Dense: 5, Gather: 2}.get(type(pattern)) or pattern.num_columns
    bias = draw(1, 1, 2, columns, dtype=torch.float64).requires_grad_()
    options = {"valid": torch.tensor([[True, True, False, True, True]]), "dropout": 0.3, "seed": 9}
    fused = OPS.attend(q, k, v, pattern, bias=bias, **options)
    unfused = OPS.attend(q, k, v, pattern, bias=bias, **options, fused=False)
    torch.testing.assert_close(unfused, fused)

    def out(q, k, v, bias):
        return OPS.attend(q, k, v, pattern, bias=bias, **options, fused=False)[0]

    assert torch.autograd.gradgradcheck(out, (q, k, v, bias), fast_mode=True)


def test_ops_copy_and_pickle():
    assert copy.deepcopy(OPS) == OPS
    assert pickle.loads(pickle.dumps(OPS)) == OPS
    assert "attend[Band]" in OPS.describe()


MEMORY = """
import resource, torch
from seqmem.ops import Band, bind
torch.set_num_threads(1)
ops = bind("pytorch")
q, k, v, qr = (torch.randn(1, {T}, 4, 32, requires_grad=True) for _ in range(4))
r = torch.randn(512, 4, 32, requires_grad=True)
if {T} > 1000:
    out, lse = ops.attend(q, k, v, Band(511), rel=(qr, r))
    (out.sum() + lse.sum()).backward()
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_peak_memory_is_inputs_plus_a_block():
    """Scores of the whole band would be 268 MB here, each of q, k, v, qr and their gradients is 17 MB."""
    base, peak = (
        int(
            subprocess.run(
                [sys.executable, "-c", MEMORY.format(T=t)], capture_output=True, text=True, check=True
            ).stdout
        )
        for t in (600, 32768)
    )
    assert (peak - base) / 1024 < 16 * 17


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"k": draw(1, 3, 2, 4)}, "5 queries but 3 keys"),
        ({"k": draw(1, 8, 2, 5), "v": draw(1, 8, 2, 5)}, r"q is \[1, 5, 2, 4\] and k \[1, 8, 2, 5\]"),
        ({"v": draw(1, 8, 2, 4).double()}, "one dtype"),
        ({"bias": draw(1, 5, 2, 9)}, r"broadcastable to \[1, 5, 2, 4\]"),
        ({"rel": (draw(1, 5, 2, 4), draw(3, 2, 4))}, r"\[4, 2, 4\]"),
        ({"pattern": Dense(), "rel": (draw(1, 5, 2, 4), draw(8, 2, 4))}, "Band only"),
        ({"valid": torch.ones(1, 8)}, "give bool"),
    ],
)
def test_bad_operands_say_what_is_wanted(change, reason):
    operands = {"q": draw(1, 5, 2, 4), "k": draw(1, 8, 2, 4), "v": draw(1, 8, 2, 4), "pattern": Band(3)}
    with pytest.raises(Exception, match=reason) as caught:
        OPS.attend(**(operands | change))
    assert "\n" not in str(caught.value)


def test_keys_switched_off_for_longer_than_any_kernel_block():
    """A kernel that walks over keys in blocks must not trip over a first block without any."""
    q, k = draw(1, 700, 2, 8), draw(1, 1500, 2, 8)
    valid = torch.arange(1500)[None] >= 1300
    out, lse = OPS.attend(q, k, k, Band(1499), valid=valid)
    want, want_lse = reference.attend(q.double(), k.double(), k.double(), Band(1499), valid=valid)
    torch.testing.assert_close(out.double(), want, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(lse.double(), want_lse, atol=1e-5, rtol=1e-5)

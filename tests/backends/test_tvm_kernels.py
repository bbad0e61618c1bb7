"""What the conformance suite does not reach: borders of chunks and cache blocks, every number of tasks, other CPUs."""

import json
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from seqmem.backends.tvm import cpu
from seqmem.backends.tvm.library import kernel
from seqmem.backends.tvm.spec import Spec, host_isa
from seqmem.backends.tvm.tiles import TABLE, Tiles, tiles_for
from torch import Tensor

from seqmem.ops import Band, Blocks, Dense, Ops, bind
from seqmem.ops.backend import BAND_KERNELS
from seqmem.ops.pattern import Pattern
from seqmem.testing.conformance import OPTIONS, Case
from seqmem.testing.layouts import Layout

TVM, PYTORCH = bind("tvm"), bind("pytorch")
F64, F32 = torch.float64, torch.float32
OPS = ("attend", *BAND_KERNELS)
TASKS = (1, 2, 3, 5)
RUNNABLE = {"avx512": ("avx2", "generic"), "avx2": ("generic",), "neon": ("generic",), "generic": ()}[host_isa()]
"""Instruction sets of this machine beside the one that the conformance suite runs on."""


@contextmanager
def threads(number: int) -> Iterator[None]:
    """As many tasks, since every thread gets one."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks and cache blocks so small that short sequences have several."""
    monkeypatch.setattr(cpu, "CHUNK_QUERIES", 16)
    monkeypatch.setattr(cpu, "tiles_for", lambda *_: Tiles(4, 2, 8, 64))


def case(op: str, sizes: tuple[int, ...], pattern: Pattern, option="plain", dtype=F64, check="values") -> Case:
    """A case of the conformance suite with sizes B, T, S, H, D, E."""
    return Case("tvm", "cpu", op, Layout("drawn", *sizes, lambda generator: pattern), dtype, option, check)


def listed(*shape: int, share: float = 0.5) -> Tensor:
    """A layout of blocks."""
    return torch.rand(shape, generator=torch.Generator().manual_seed(sum(shape))) < share


def draw(*shape: int, dtype: torch.dtype = F64) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=dtype)


@st.composite
def problems(draw: st.DrawFn) -> Case:
    """Any op on any band: memory, windows wider than S, dilations beyond T, one query, every option."""
    op = draw(st.sampled_from(OPS))
    num_queries = draw(st.just(1) | st.integers(2, 90))
    num_keys = num_queries + draw(st.integers(0, 60))
    band = Band(
        draw(st.integers(0, 5) | st.integers(6, 200)), draw(st.integers(0, 4)), draw(st.integers(1, 3) | st.just(100))
    )
    sizes = (draw(st.integers(1, 2)), num_queries, num_keys, draw(st.integers(1, 3)), 3, 5)
    option = draw(st.sampled_from(OPTIONS)) if op == "attend" else "plain"
    return case(op, sizes, band, option)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(problem=problems(), num_tasks=st.sampled_from(TASKS))
def test_any_band_on_any_number_of_tasks(small_blocks, problem: Case, num_tasks: int):
    with threads(num_tasks):
        problem.run()


@st.composite
def block_problems(draw: st.DrawFn) -> Case:
    """Any layout of blocks of any size: memory, rows that see all keys or none, one query."""
    num_queries = draw(st.just(1) | st.integers(2, 90))
    num_keys = num_queries + draw(st.integers(0, 60))
    size, num_heads = draw(st.integers(1, 9) | st.integers(10, 160)), draw(st.integers(1, 3))
    num_blocks = -(-num_keys // size) + draw(st.integers(0, 1))
    shape = (draw(st.sampled_from((1, num_heads))), num_blocks, num_blocks)
    layout = listed(*shape, share=draw(st.sampled_from((0.0, 0.1, 0.5, 0.9, 1.0))))
    sizes = (draw(st.integers(1, 2)), num_queries, num_keys, num_heads, 3, 5)
    return case("attend", sizes, Blocks(layout, size, draw(st.booleans())), draw(st.sampled_from(("plain", "all"))))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(problem=block_problems(), num_tasks=st.sampled_from(TASKS))
def test_any_blocks_on_any_number_of_tasks(small_blocks, problem: Case, num_tasks: int):
    with threads(num_tasks):
        problem.run()


def test_layouts_and_sizes_of_blocks_share_their_kernels():
    q, k = draw(1, 30, 2, 8).requires_grad_(), draw(1, 50, 2, 8)
    loaded = []
    for size, heads, causal in ((64, 1, False), (7, 2, False), (10, 2, True)):
        out, _ = TVM.attend(q, k, k, Blocks(listed(heads, 8, 8), size, causal))
        torch.autograd.grad(out.sum(), q)
        loaded.append(kernel.cache_info().currsize)
    assert loaded[1:] == loaded[:1] * 2


def test_nan_in_blocks_that_nobody_sees_reaches_no_query():
    layout = torch.ones(1, 5, 5, dtype=torch.bool)
    layout[:, :, 2] = False
    q, k, v = (draw(1, 45, 1, 5).roll(i) for i in range(3))
    k[:, 18:27], v[:, 18:27] = torch.nan, torch.nan
    out, lse = TVM.attend(q.requires_grad_(), k, v, Blocks(layout, 9))
    dq = torch.autograd.grad(out.sum() + lse.sum(), q)[0]
    assert all(tensor.isfinite().all() for tensor in (out, lse, dq))


@pytest.mark.parametrize("num_tasks", TASKS)
@pytest.mark.parametrize("option", ["all", "bias per head"])
@pytest.mark.parametrize(
    ("sizes", "pattern"),
    [
        ((1, 90, 130, 1, 3, 5), Band(3)),
        ((1, 70, 200, 1, 3, 5), Band(90, 70)),
        ((1, 75, 150, 1, 3, 5), Dense()),
        ((1, 90, 130, 1, 3, 5), Blocks(listed(1, 9, 9), 17)),
    ],
    ids=str,
)
def test_one_sequence_is_cut_among_tasks(small_blocks, sizes, pattern: Pattern, option: str, num_tasks: int):
    with threads(num_tasks):
        case("attend", sizes, pattern, option).run()


@pytest.mark.parametrize(
    ("sizes", "band"),
    [
        ((1, 1300, 1400, 1, 3, 5), Band(40, 3)),
        ((1, 1300, 1600, 1, 3, 5), Band(300)),
        ((1, 2200, 2200, 1, 3, 5), Band(20, 0, 2)),
    ],
    ids=str,
)
@pytest.mark.parametrize("num_tasks", [1, 2])
def test_the_chunks_that_ship_meet_without_a_seam(sizes: tuple[int, ...], band: Band, num_tasks: int):
    q, k, v = (draw(1, length, 1, width) for length, width in zip(sizes[1:3] + sizes[2:3], (3, 3, 5), strict=True))
    rel = (draw(*q.shape), draw(band.num_columns, 1, 3))
    leaves = [tensor.requires_grad_() for tensor in (q, k, v, *rel)]

    def outcome(ops) -> tuple[Tensor, ...]:
        out, lse = ops.attend(q, k, v, band, rel=rel, dropout=0.2, seed=1)
        return out, lse, *torch.autograd.grad(out.square().sum() + lse.square().sum(), leaves)

    with threads(num_tasks):
        torch.testing.assert_close(outcome(TVM), outcome(PYTORCH), atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize(("key_width", "value_width"), [(1, 24), (24, 1), (100, 3)])
def test_widths_that_fill_no_register(op: str, key_width: int, value_width: int):
    case(op, (2, 19, 33, 2, key_width, value_width), Band(9, 1), "all" if op == "attend" else "plain", F32).run()


def everything(shape: tuple[int, int, int, int], band: Band) -> list[Tensor]:
    """Outputs and gradients of all four operations in float32."""
    q, k, v = (draw(*shape, dtype=F32).roll(i).requires_grad_() for i in range(3))
    bias = draw(1, 1, shape[2], band.num_columns, dtype=F32).requires_grad_()
    rel = (q, draw(band.num_columns, *shape[2:], dtype=F32).requires_grad_())
    out, lse = TVM.attend(q, k, v, band, bias=bias, rel=rel, dropout=0.1, seed=3)
    weights = TVM.band_qk(q, k, band)
    mixed, back = TVM.band_pv(weights, v, band), TVM.band_pv_t(weights, q, band, shape[1])
    total = sum(tensor.square().sum() for tensor in (out, lse, mixed, back))
    gradients = torch.autograd.grad(total, [q, k, v, bias, rel[1]])
    return [tensor.detach() for tensor in (out, lse, weights, mixed, back, *gradients)]


def test_the_number_of_tasks_changes_no_bit_where_no_sequence_is_cut(small_blocks):
    results = []
    for num_tasks in (*TASKS, 5):
        with threads(num_tasks):
            results.append(everything((5, 40, 6, 8), Band(10, 1)))
    for result in results[1:]:
        assert all(torch.equal(*pair) for pair in zip(result, results[0], strict=True))


@pytest.mark.parametrize("num_tasks", [2, 5])
def test_two_runs_agree_to_the_bit_where_a_sequence_is_cut(small_blocks, num_tasks: int):
    with threads(num_tasks):
        first, *others = (everything((1, 90, 1, 8), Band(10, 1)) for _ in range(5))
    for result in others:
        assert all(torch.equal(*pair) for pair in zip(result, first, strict=True))


@pytest.mark.parametrize("isa", RUNNABLE)
@pytest.mark.parametrize("dtype", [F32, F64], ids=str)
def test_other_instruction_sets_of_this_machine(monkeypatch: pytest.MonkeyPatch, isa: str, dtype: torch.dtype):
    monkeypatch.setattr(cpu, "host_isa", lambda: isa)
    case("attend", (2, 45, 60, 2, 3, 5), Band(30, 2), "all", dtype).run()
    case("attend", (2, 45, 60, 2, 3, 5), Blocks(listed(2, 9, 9), 7), "all", dtype).run()


@pytest.mark.parametrize("dtype", [F32, F64], ids=str)
@pytest.mark.parametrize("pattern", [Band(30, 2), Band(3, 1, 7), Dense()], ids=str)
def test_the_same_probabilities_are_dropped(pattern: Pattern, dtype: torch.dtype):
    q, k = draw(2, 40, 2, 8, dtype=dtype), draw(2, 60, 2, 8, dtype=dtype)
    one_hot = torch.eye(60, dtype=dtype)[None, :, None].expand(2, 60, 2, 60).contiguous()
    kept, wanted = (ops.attend(q, k, one_hot, pattern, dropout=0.4, seed=2**33 + 5)[0] != 0 for ops in (TVM, PYTORCH))
    seen = pattern.to_mask(40, 60)[None, :, None].expand_as(wanted)
    assert 0.5 < wanted[seen].double().mean() < 0.7
    assert torch.equal(kept, wanted)


@pytest.mark.parametrize("pattern", [Band(6, 1), Band(2, 0, 3), Dense(), Blocks(listed(2, 4, 4), 4)], ids=str)
def test_the_gradient_of_lse_alone(pattern: Pattern):
    q, k, v = (draw(2, 15, 2, 5).roll(i).requires_grad_() for i in range(3))
    weights = draw(2, 15, 2)

    def gradients(ops) -> tuple[Tensor, ...]:
        _, lse = ops.attend(q, k, v, pattern, dropout=0.3, seed=1)
        return torch.autograd.grad((lse * weights).sum(), (q, k, v))

    got = gradients(TVM)
    torch.testing.assert_close(got, gradients(PYTORCH))
    assert not got[2].any()


@pytest.mark.parametrize("closed", [False, True], ids=["open", "with -inf"])
@pytest.mark.parametrize("shape", [(1, 1, 2, 6), (2, 1, 2, 6), (2, 15, 2, 6), (1, 15, 1, 6), (1, 1, 1, 6)], ids=str)
def test_every_shape_of_bias(shape: tuple[int, ...], closed: bool):
    q, k, v = (draw(2, 15, 2, 5).roll(i).requires_grad_() for i in range(3))
    bias = draw(*shape)
    if closed:
        bias[..., 1::2] = -torch.inf
    bias.requires_grad_()

    def outcome(ops) -> tuple[Tensor, ...]:
        out, lse = ops.attend(q, k, v, Band(4, 1), bias=bias)
        return out, lse, *torch.autograd.grad(out.square().sum() + lse.where(lse.isfinite(), 0).sum(), (q, k, v, bias))

    got = outcome(TVM)
    torch.testing.assert_close(got, outcome(PYTORCH))
    assert not got[-1][bias.isinf()].any()


def test_nan_beside_the_band_stays_there():
    """Weights of columns without a key may hold anything; so may keys and values that no query sees."""
    band = Band(4, 1)
    p = draw(1, 30, 1, 6).masked_fill(~band.columns_inside(30, 30)[None, :, None], torch.nan)
    for got in (TVM.band_pv(p, draw(1, 30, 1, 5), band), TVM.band_pv_t(p, draw(1, 30, 1, 5), band, 30)):
        assert got.isfinite().all()
    q, k, v = draw(1, 12, 1, 5), draw(1, 40, 1, 5), draw(1, 40, 1, 5)
    k[:, :24], v[:, :24] = torch.nan, torch.nan
    leaves = [tensor.requires_grad_() for tensor in (q, k, v)]
    out, lse = TVM.attend(*leaves, band)
    gradients = torch.autograd.grad(out.sum() + lse.sum(), leaves)
    assert all(tensor.isfinite().all() for tensor in (out, lse, *gradients))
    assert not any(gradient[:, :24].any() for gradient in gradients[1:])


@pytest.mark.parametrize("dtype", [F32, F64], ids=str)
@pytest.mark.parametrize("poisoned", ["q", "k", "v", "qr", "bias"])
def test_nan_among_the_operands_is_never_hidden(poisoned: str, dtype: torch.dtype):
    """NaN of query or key 20 reaches the queries that have to do with it, and only queries of the same head."""
    operands = {name: draw(1, 40, 2, 5, dtype=dtype).roll(i) for i, name in enumerate(("q", "k", "v", "qr", "bias"))}
    operands[poisoned][0, 20, 0, 2] = torch.nan
    rel = (operands.pop("qr"), draw(5, 2, 5, dtype=dtype))
    out, lse = TVM.attend(**operands, pattern=Band(3, 1), rel=rel)
    touched = [20] if poisoned in ("q", "qr", "bias") else list(range(19, 24))
    bad = out[0, :, 0].isnan()
    assert bad[touched].any(-1).all()
    assert poisoned == "v" or lse[0, touched, 0].isnan().all()
    assert out[0, :, 1].isfinite().all()
    if poisoned in ("q", "qr", "bias"):
        assert bad.any(-1).sum() == 1


@pytest.mark.parametrize("poisoned", ["q", "k", "v"])
def test_nan_is_not_hidden_from_one_query(poisoned: str):
    operands = {"q": draw(1, 1, 2, 5, dtype=F32)} | {name: draw(1, 20, 2, 5, dtype=F32) for name in "kv"}
    operands[poisoned][0, -1, 0, 2] = torch.nan
    out, lse = TVM.attend(**operands, pattern=Band(9))
    assert out[0, 0, 0].isnan().any()
    assert lse[0, 0, 0].isnan() == (poisoned != "v")
    assert out[0, 0, 1].isfinite().all()


@pytest.mark.parametrize("stretch", [1e-30, 1e3, 1e30], ids=str)
def test_scores_of_any_size(stretch: float):
    """The softmax of scores up to 1e30: finite, and that of the other backend."""
    q, k, v = (draw(1, 50, 1, 5, dtype=F32).roll(i) for i in range(3))
    got, wanted = (ops.attend(stretch * q, k, v, Band(30)) for ops in (TVM, PYTORCH))
    torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-4)


def test_opcheck():
    q, k, v, bias, qr, r = (
        draw(*shape, dtype=F32).requires_grad_()
        for shape in ((2, 6, 2, 5), (2, 8, 2, 5), (2, 8, 2, 5), (1, 1, 2, 5), (2, 6, 2, 5), (5, 2, 5))
    )
    extras = [bias, qr, r, torch.arange(16).view(2, 8) % 3 > 0]
    torch.library.opcheck(
        torch.ops.seqmem.attend, (q, k, v, *extras, None, None, None, "Band", [3, 1, 1], 0.5, 0.0, "tvm", False)
    )
    p = draw(2, 6, 2, 5, dtype=F32).requires_grad_()
    torch.library.opcheck(torch.ops.seqmem.band_qk, (q, k, 3, 1, 1, "tvm"))
    torch.library.opcheck(torch.ops.seqmem.band_pv, (p, k, 3, 1, 1, "tvm"))
    torch.library.opcheck(torch.ops.seqmem.band_pv_t, (p, q, 8, 3, 1, 1, "tvm"))


@pytest.mark.parametrize("tiles", [Tiles(6, 2, 96, 64), Tiles(5, 2, 40, 16)], ids=str)
@pytest.mark.parametrize("option", ["plain", "rel"])
def test_blocks_of_queries_longer_than_those_of_keys(monkeypatch: pytest.MonkeyPatch, tiles: Tiles, option: str):
    """The last keys of a tile stand in a group with keys of the next, which other queries see."""
    monkeypatch.setattr(cpu, "tiles_for", lambda *_: tiles)
    monkeypatch.setattr(cpu, "host_isa", lambda: "generic")
    for band in (Band(7), Band(30, 9)):
        case("attend", (1, 300, 310, 2, 8, 5), band, option).run()
        case("band_pv_t", (1, 300, 310, 2, 8, 5), band).run()


@pytest.mark.parametrize("isa", ["avx2", "avx512"])
def test_tuned_tiles_fit_their_kernels(isa: str):
    entries = [entry for entry in json.loads(TABLE.read_text()) if entry["isa"] == isa]
    assert entries
    for entry in entries:
        found = tiles_for(isa, entry["dtype"], entry["width"], entry["window"])
        spec = Spec("attend", entry["dtype"], entry["width"], entry["width"], found, isa)
        assert spec.tiles.queries >= spec.tiles.rows
    assert tiles_for(isa, "float32", 48, 700) in {tiles_for(isa, "float32", 64, window) for window in (64, 512, 2048)}


def test_tiles_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="multiple"):
        Spec("attend", "float32", 64, 64, Tiles(6, 2, 20, 128), "avx2")


@pytest.mark.parametrize(("B", "T", "S"), [(0, 5, 7), (2, 0, 4), (0, 1, 3)])
def test_nothing_to_do_gives_nothing(B: int, T: int, S: int):
    q, k, v = (torch.zeros(B, t, 2, 4, dtype=F64, requires_grad=True) for t in (T, S, S))
    qr, r, bias = (
        torch.zeros(B, T, 2, 4, dtype=F64),
        torch.zeros(3, 2, 4, dtype=F64),
        torch.zeros(1, 1, 2, 3, dtype=F64),
    )
    leaves = [q, k, v, *(tensor.requires_grad_() for tensor in (qr, r, bias))]
    out, lse = TVM.attend(q, k, v, Band(2), rel=(qr, r), bias=bias)
    assert out.shape == (B, T, 2, 4)
    assert lse.shape == (B, T, 2)
    for leaf, gradient in zip(leaves, torch.autograd.grad(out.sum() + lse.sum(), leaves), strict=True):
        assert torch.equal(gradient, torch.zeros_like(leaf))


@pytest.mark.parametrize("ops", [TVM, PYTORCH], ids=str)
@pytest.mark.parametrize(("B", "T", "S"), [(0, 5, 7), (2, 0, 4), (0, 1, 3), (1, 0, 0)])
def test_no_rows_or_queries_of_blocks_give_nothing(ops: Ops, B: int, T: int, S: int):
    leaves = [torch.zeros(B, length, 2, 4, dtype=F64, requires_grad=True) for length in (T, S, S)]
    out, lse = ops.attend(*leaves, Blocks(torch.ones(1, 4, 4, dtype=torch.bool), 3))
    assert out.shape == (B, T, 2, 4)
    assert lse.shape == (B, T, 2)
    for leaf, gradient in zip(leaves, torch.autograd.grad(out.sum() + lse.sum(), leaves), strict=True):
        assert torch.equal(gradient, torch.zeros_like(leaf))


def test_without_keys_dense_gives_zero_and_minus_infinity():
    q, k = torch.zeros(1, 3, 2, 4), torch.zeros(1, 0, 2, 4)
    out, lse = TVM.attend(q, k, k, Dense())
    assert torch.equal(out, torch.zeros(1, 3, 2, 4))
    assert torch.equal(lse, torch.full((1, 3, 2), -torch.inf))

"""Who is chosen: strict, ordered, auto; reasons in full; three kernels are enough to be a backend."""

import logging

import pytest
import torch
from seqmem.backends.pytorch import PyTorchBackend

from seqmem.errors import SeqmemError
from seqmem.ops import BackendUnsupported, Band, Dense, bind, dispatch, registry
from seqmem.testing import Case, cases, conformance, run


class ThreeKernels(PyTorchBackend):
    """Tier 0 only."""

    name = "three"
    attend_patterns = ()
    dtypes = (torch.float32, torch.float64, torch.bfloat16, torch.float16)


class Narrow(PyTorchBackend):
    """Float32 only, and not dilated."""

    name = "narrow"
    dtypes = (torch.float32,)
    auto_rank = {"cpu": 5}  # noqa: RUF012

    def unsupported(self, call):
        return super().unsupported(call) + (["no dilation"] if call.dilated else [])


class Absent(PyTorchBackend):
    name = "absent"

    def unavailable(self):
        return "no such device here; plug one in"


@pytest.fixture(autouse=True)
def _more_backends(monkeypatch):
    found = {cls.name: cls() for cls in (ThreeKernels, Narrow, Absent)}
    original = registry.backend
    monkeypatch.setattr(registry, "backend", lambda name: found.get(name) or original(name))
    monkeypatch.setattr(registry, "names", lambda: ["pytorch", *found])
    dispatch.decide.cache_clear()
    yield
    dispatch.decide.cache_clear()


def q(dtype=torch.float32):
    return torch.randn(1, 5, 2, 4).to(dtype)


def choice(preference, dtype=torch.float32, op="attend", pattern="Band", dilated=False):
    return dispatch.choose(dispatch.parse_preference(preference), op, pattern, dilated, dtype, "cpu", False, ())


def test_strict_runs_or_names_every_reason():
    assert choice("narrow") == ("narrow", False)
    with pytest.raises(BackendUnsupported, match=r"float64 is not among float32, no dilation.*try --backend auto"):
        bind("narrow").attend(q(torch.float64), q(torch.float64), q(torch.float64), Band(2, 0, 2))


def test_ordered_list_takes_the_first_that_can():
    assert choice("narrow,pytorch") == ("narrow", False)
    assert choice("narrow,pytorch", torch.float64) == ("pytorch", False)
    assert choice("absent,three") == ("three", True)


def test_auto_goes_by_rank_and_logs_once(caplog):
    caplog.set_level(logging.INFO, "seqmem")
    assert choice("auto") == ("narrow", False)
    assert choice("auto") == ("narrow", False)
    assert choice("auto", torch.float64) == ("pytorch", False)
    assert [record.message for record in caplog.records] == ["attend Band -> narrow", "attend Band -> pytorch"]


def test_an_absent_backend_says_how_to_mend_it():
    with pytest.raises(BackendUnsupported, match="plug one in"):
        bind("absent").attend(q(), q(), q(), Band(1))


def test_only_band_work_is_strict():
    assert choice("narrow", torch.float64, pattern="Dense") == ("defaults", True)
    assert choice("narrow", op="scan", pattern="") == ("defaults", True)
    bind("absent").attend(q(), q(), q(), Dense())


def test_bad_preferences():
    with pytest.raises(SeqmemError, match="did you mean 'pytorch'"):
        bind("pytorhc")
    with pytest.raises(SeqmemError, match="names no backend"):
        bind(" ,")
    with pytest.raises(SeqmemError, match="auto is a choice by itself"):
        bind("auto,pytorch")


COMPOSED = [
    case
    for case in cases("three", dtypes=(torch.float32, torch.bfloat16))
    if case.op == "attend" and case.layout.name in ("two-sided", "per head", "memory, E != D", "dilated two-sided")
]


@pytest.mark.parametrize("case", COMPOSED, ids=str)
def test_attention_composed_of_three_kernels_conforms(case: Case):
    case.run()


def test_a_run_in_which_all_is_skipped_fails(monkeypatch):
    few = cases("absent", dtypes=(torch.float32,))[::40]
    monkeypatch.setattr(conformance, "cases", lambda *args: few)
    with pytest.raises(AssertionError, match=r"every case on a Band was skipped: .*plug one in"):
        run("absent", dtypes=(torch.float32,))

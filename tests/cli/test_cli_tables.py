"""``seqmem backends`` and ``seqmem models``."""

import pytest


def test_backends_says_what_each_can_do(seqmem):
    shown = seqmem("backends")
    assert shown.code == 0
    row = next(line for line in shown.out.splitlines() if "pytorch" in line)
    assert all(word in row for word in ("built in", "yes", "0: band_qk, band_pv, band_pv_t", "float64", "cpu"))


def test_backends_shows_a_reason_as_it_is(seqmem, monkeypatch: pytest.MonkeyPatch):
    from seqmem.ops import registry

    reason = 'run: pip install "seqmem[tvm]"'
    row = registry.BackendInfo("tvm", "built in", False, reason, {0: [], 1: []}, [], [])
    monkeypatch.setattr(registry, "survey", lambda: [row])
    assert f"no: {reason}" in seqmem("backends").out


def test_backends_clears_the_cache_of_kernels(seqmem, tmp_path, monkeypatch: pytest.MonkeyPatch):
    from seqmem.ops import cache

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    kernel = cache.fetch("attend-0123.so", lambda: b"machine code")
    shown = seqmem("backends", "--clear-cache")
    assert shown.code == 0
    assert shown.out.splitlines() == [f"removed {kernel.name}", f"compiled kernels removed from {kernel.parent}: 1"]
    assert not kernel.exists()
    assert f"compiled kernels removed from {kernel.parent}: 0" in seqmem("backends", "--clear-cache").out


def test_models_counts_the_parameters_of_every_size(seqmem):
    from seqmem.models import ENCODERS, MODELS, build_model
    from seqmem.ops import bind

    shown = seqmem("models")
    assert shown.code == 0, shown.err
    assert all(name in shown.out for name in [*MODELS, *ENCODERS])
    tiny = build_model("transformer-xl/tiny", bind())
    assert f"{sum(parameter.numel() for parameter in tiny.parameters()):,}" in shown.out
    sizes = sum(len(models.model_class(name).SIZES) for models in (MODELS, ENCODERS) for name in models)
    assert len([line for line in shown.out.splitlines() if line.startswith("│")]) == sizes

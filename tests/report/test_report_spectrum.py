"""Singular values of attention: beside NumPy's of a matrix written out, and of trained-like models."""

import json

import numpy as np
import pytest
import torch

from seqmem.data.documents import Documents
from seqmem.errors import SeqmemError
from seqmem.models import MODELS, build_model
from seqmem.ops import Band, Dense, bind
from seqmem.report.spectrum import NUM_SEGMENTS, SpectrumOps, draw_spectra, measure, rank_of

B, T, S, H, D = 2, 5, 9, 3, 4


def spectrum_ops() -> SpectrumOps:
    return SpectrumOps(bind("pytorch").preference)


def text(length: int) -> np.ndarray:
    return np.random.default_rng(0).integers(1, 256, length)


@pytest.mark.parametrize("pattern", [Band(4), Band((2, 8, 5)), Dense()])
@pytest.mark.parametrize("restricted", [False, True])
def test_spectra_are_numpys_of_the_matrix_written_out(pattern, restricted):
    torch.manual_seed(0)
    q, k, v = torch.randn(B, T, H, D), torch.randn(B, S, H, D), torch.randn(B, S, H, D)
    q, k, v = q.double(), k.double(), v.double()
    valid = torch.arange(S).expand(B, S) >= (2 if restricted else 0)
    ops = spectrum_ops()
    ops.enter(7)
    out, _ = ops.attend(q, k, v, pattern, valid=valid)
    torch.testing.assert_close(out, bind("pytorch").attend(q, k, v, pattern, valid=valid)[0])
    expected = np.zeros((H, T))
    for batch in range(B):
        for head in range(H):
            weights = np.zeros((T, S))
            for i in range(T):
                place = i + S - T
                left = pattern.of_heads(H)[head].left if isinstance(pattern, Band) else None
                keys = range(S) if left is None else range(max(0, place - left), place + 1)
                seen = [j for j in keys if valid[batch, j]]
                scores = np.array([float(q[batch, i, head] @ k[batch, j, head]) / D**0.5 for j in seen])
                weights[i, seen] = np.exp(scores) / np.exp(scores).sum()
            values = np.linalg.svd(weights, compute_uv=False)
            expected[head] += np.cumsum(values) / values.sum() / B
    np.testing.assert_allclose(ops.found[7][0].numpy(), expected, rtol=1e-9)


def test_equal_weights_have_one_singular_value():
    ops = spectrum_ops()
    ops.enter(0)
    ops.attend(torch.zeros(1, T, H, D), torch.randn(1, S, H, D), torch.randn(1, S, H, D), Dense())
    np.testing.assert_allclose(ops.found[0][0].numpy(), 1, rtol=1e-5)
    assert rank_of(ops.found[0][0].numpy()) == 1


@pytest.mark.parametrize("name", [name for name in MODELS if name not in {"feedback", "light-conv", "lstm", "wavenet"}])
def test_models_that_attend_have_a_spectrum_a_layer(name):
    torch.manual_seed(0)
    ops = spectrum_ops()
    model = build_model(f"{name}/tiny", ops).eval()
    if name in ("linear-transformer", "performer", "titans-lmm"):
        with pytest.raises(SeqmemError, match="attends to nothing"):
            measure(model, ops, Documents.one(text(3000)), "run 'x'")
        return
    layers = measure(model, ops, Documents.one(text(3000)), "run 'x'")
    assert 1 <= len(layers) <= model.config.num_layers
    for heads in layers:
        assert (np.diff(heads) >= -1e-12).all()
        np.testing.assert_allclose(heads[:, -1], 1)


def test_the_average_is_over_segments_after_memory_has_filled():
    torch.manual_seed(0)
    ops = spectrum_ops()
    model = build_model("transformer-xl/tiny", ops).eval()
    layers = measure(model, ops, Documents.one(text(5000)), "run 'x'")
    assert all(len(found) == NUM_SEGMENTS for found in ops.found.values())
    for layer, heads in enumerate(layers):
        np.testing.assert_allclose(heads, torch.stack(ops.found[layer]).mean(0).numpy())


@pytest.mark.parametrize(
    ("name", "length", "message"),
    [("lstm", 3000, "LSTM attends to nothing"), ("transformer", 40, "40 validation tokens do not fill its memory")],
)
def test_without_attention_or_text_is_an_error(name, length, message):
    ops = spectrum_ops()
    with pytest.raises(SeqmemError, match=message):
        measure(build_model(f"{name}/tiny", ops).eval(), ops, Documents.one(text(length)), "run 'x'")


def test_figure_and_table(tmp_path):
    spectra = {"a": [np.linspace(0.1, 1, 8)[None].repeat(2, 0)], "b": [np.ones((1, 4))] * 3}
    figure, table = draw_spectra(spectra, tmp_path / "plots")
    assert figure.read_bytes().startswith(b"\x89PNG")
    read = {label: [np.array(heads) for heads in layers] for label, layers in json.loads(table.read_text()).items()}
    np.testing.assert_equal(read, spectra)

"""A codec loses nothing that its levels can hold, and its formulas are the published ones."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchaudio.functional import mu_law_decoding, mu_law_encoding

from seqmem.config import CodecConfig
from seqmem.data.codec import Codec
from seqmem.errors import SeqmemError

KINDS = ("mu-law", "linear", "two-byte", "logistic-mixture")
COMPANDED = ("mu-law", "linear")
ALL_SAMPLES = np.arange(-32768, 32768).astype(np.int16)

few = settings(deadline=None, max_examples=50)


def codec(kind: str, levels: int = 256) -> Codec:
    return Codec(CodecConfig(kind=kind, levels=levels))


def every_token(codec: Codec) -> np.ndarray:
    levels = np.arange(codec.levels)
    if codec.tokens_a_sample == 1:
        return levels
    return np.stack([levels >> 8, 256 + (levels & 255)], -1).reshape(-1)


@pytest.mark.parametrize("kind", KINDS)
def test_encode_after_waveform_is_the_identity_on_every_level(kind):
    ours = codec(kind)
    assert np.array_equal(ours.encode(ours.waveform(every_token(ours))), every_token(ours))


@few
@given(st.sampled_from(COMPANDED), st.integers(2, 1 << 16))
def test_so_it_is_for_any_number_of_levels(kind, levels):
    ours = codec(kind, levels)
    assert np.array_equal(ours.encode(ours.waveform(np.arange(levels))), np.arange(levels))


@few
@given(st.sampled_from(KINDS), st.integers(2, 655))
def test_encode_after_decode_is_the_identity_in_16_bits(kind, levels):
    ours = codec(kind, levels)
    decoded = ours.decode(every_token(ours))
    assert decoded.dtype == np.int16
    assert np.array_equal(ours.encode(decoded), every_token(ours))


@pytest.mark.parametrize("levels", [256, 512, 1024])
def test_the_usual_numbers_of_levels_survive_as_floats(levels):
    ours = codec("mu-law", levels)
    assert ours.waveform(np.arange(levels)).dtype == np.float32
    assert np.array_equal(ours.encode(ours.waveform(np.arange(levels))), np.arange(levels))


@few
@given(st.sampled_from(KINDS), st.integers(2, 1 << 16))
def test_the_ends_and_the_middle(kind, levels):
    ours = codec(kind, levels)
    encoded = ours.encode(np.array([-1.0, 0.0, 1.0, -7.0, 7.0]))
    expected = every_token(ours).reshape(ours.levels, -1)[[0, ours.levels // 2, -1, 0, -1]].reshape(-1)
    assert np.array_equal(encoded, expected)
    assert ours.bos_ids == tuple(ours.encode(np.zeros(1)).tolist())
    assert ours.bos_ids == tuple(ours.encode(np.zeros(1, np.int16)).tolist())


@pytest.mark.parametrize("kind", KINDS)
def test_samples_and_the_floats_they_stand_for_have_the_same_tokens(kind):
    ours = codec(kind)
    tokens = ours.encode(ALL_SAMPLES)
    assert tokens.dtype == np.uint16
    assert np.array_equal(tokens, ours.encode(ALL_SAMPLES / 32768))
    assert int(tokens.max()) < ours.vocab_size


@few
@given(st.sampled_from(COMPANDED), st.integers(2, 1 << 16))
def test_louder_is_never_a_lower_level(kind, levels):
    ours = codec(kind, levels)
    assert (np.diff(ours.encode(ALL_SAMPLES).astype(int)) >= 0).all()
    assert (np.diff(ours.waveform(np.arange(levels))) > 0).all()


@few
@given(st.integers(2, 4096), st.lists(st.floats(-1, 1, allow_subnormal=False), min_size=1, max_size=50))
def test_mu_law_is_torchaudios(levels, values):
    ours = codec("mu-law", levels)
    x = np.array(values)
    theirs = mu_law_encoding(torch.from_numpy(x), levels).numpy()
    assert np.abs(ours.encode(x).astype(int) - theirs).max() <= 1, "a value on the border of two levels rounds away"
    away = np.abs(_position(x, levels) % 1 - 0.5) < 0.499999
    assert np.array_equal(ours.encode(x)[away], theirs[away])
    back = mu_law_decoding(torch.from_numpy(ours.encode(x).astype(np.int64)).double(), levels).numpy()
    assert ours.waveform(ours.encode(x)) == pytest.approx(back, rel=1e-6, abs=1e-9)


def _position(x: np.ndarray, levels: int) -> np.ndarray:
    """Where in its level a value lies: 0 at the lower border."""
    mu = levels - 1
    return (np.sign(x) * np.log1p(mu * np.abs(x)) / np.log1p(mu) + 1) / 2 * mu + 0.5


def test_mu_law_of_every_16_bit_sample_is_torchaudios():
    theirs = mu_law_encoding(torch.from_numpy(ALL_SAMPLES / 32768), 256).numpy()
    assert np.array_equal(codec("mu-law").encode(ALL_SAMPLES), theirs)


@pytest.mark.parametrize("levels", [256, 4096])
def test_linear_is_off_by_half_a_level_at_most(levels):
    ours = codec("linear", levels)
    x = np.linspace(-1, 1, 10001)
    assert np.abs(ours.waveform(ours.encode(x)) - x).max() <= 1 / (levels - 1) + 1e-6


@pytest.mark.parametrize("kind", ["two-byte", "logistic-mixture"])
def test_sixteen_bits_lose_nothing(kind):
    ours = codec(kind)
    assert np.array_equal(ours.decode(ours.encode(ALL_SAMPLES)), ALL_SAMPLES)


def test_two_bytes_of_a_sample_have_ids_of_their_own():
    ours = codec("two-byte")
    tokens = ours.encode(np.array([0, -1, 0x1234], np.int16))
    assert tokens.tolist() == [0x80, 256, 0x7F, 256 + 0xFF, 0x92, 256 + 0x34]
    assert (ours.vocab_size, ours.tokens_a_sample, ours.bos_ids) == (512, 2, (128, 256))


@pytest.mark.parametrize("kind", KINDS)
def test_a_saved_codec_is_the_same(kind, tmp_path):
    ours = Codec(CodecConfig(kind=kind, levels=512, sample_rate=22050))
    ours.save(tmp_path / "codec")
    loaded = Codec.load(tmp_path / "codec")
    assert (loaded.config, loaded.hash) == (ours.config, ours.hash)
    assert loaded.hash != codec(kind, 512).hash, "another rate is another codec"


def test_no_codec_and_a_damaged_one_are_errors(tmp_path):
    with pytest.raises(SeqmemError, match="no codec there"):
        Codec.load(tmp_path)
    (tmp_path / "codec.json").write_text('{"kind": "a-law"}')
    with pytest.raises(SeqmemError, match="not a codec"):
        Codec.load(tmp_path)

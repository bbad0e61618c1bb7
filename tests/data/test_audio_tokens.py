"""Samples read as tokens, and what evaluation scores of them."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from seqmem.config import CodecConfig
from seqmem.data.audio_tokens import AudioCorpus, EncodedSamples
from seqmem.data.codec import Codec
from seqmem.data.documents import Documents, Laid
from seqmem.data.reading import Rows
from seqmem.data.stream import TokenStream
from seqmem.errors import SeqmemError

KINDS = ("mu-law", "linear", "two-byte", "logistic-mixture")
RNG = np.random.default_rng(0)
SAMPLES = RNG.integers(-(1 << 15), 1 << 15, 50).astype(np.int16)


def codec(kind: str) -> Codec:
    return Codec(CodecConfig(kind=kind, sample_rate=8000))


@pytest.mark.parametrize("kind", KINDS)
def test_encoded_samples_read_like_the_array_of_all_tokens(kind: str):
    tokens, whole = EncodedSamples(SAMPLES, codec(kind)), codec(kind).encode(SAMPLES)
    assert len(tokens) == len(whole)
    for places in (slice(None), slice(3, 17), slice(40, 1000), slice(5, 5), slice(1, 40, 3)):
        np.testing.assert_array_equal(tokens[places], whole[places])
    places = RNG.integers(0, len(whole), (4, 7))
    np.testing.assert_array_equal(tokens[places], whole[places])


def store(recordings: list[np.ndarray], sample_rate: int = 8000) -> SimpleNamespace:
    """What an audio store says of one split: every recording begun by a sample of silence."""
    samples = np.concatenate([np.concatenate([np.zeros(1, np.int16), recording]) for recording in recordings])
    lengths = [1 + len(recording) for recording in recordings]
    starts = np.cumsum([0, *lengths[:-1]])
    return SimpleNamespace(
        folder=Path("sounds"), sample_rate=sample_rate, note="", samples={"test": samples}, starts={"test": starts}
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("batch_size", "segment_len"), [(1, 16), (3, 5), (2, 1000)])
def test_every_token_of_every_recording_is_scored_once_and_no_start(kind: str, batch_size: int, segment_len: int):
    recordings = [SAMPLES[:20], np.zeros(7, np.int16), SAMPLES[20:23]]  # silence is scored like any other sound
    documents = Documents.of(AudioCorpus.build(store(recordings), codec(kind)), "test", codec(kind))
    segments = Rows.end_to_end(documents, batch_size).segments(segment_len)
    scored = [read.targets[read.scored].numpy() for read in segments]
    expected = np.concatenate([codec(kind).encode(recording) for recording in recordings])
    if batch_size == 1:
        np.testing.assert_array_equal(np.concatenate(scored), expected)
    np.testing.assert_array_equal(np.sort(np.concatenate(scored)), np.sort(expected))


def test_start_tokens_are_those_of_silence():
    for kind in KINDS:
        corpus = AudioCorpus.build(store([SAMPLES[:5], SAMPLES[5:]]), codec(kind))
        starts = corpus.document_starts("test")[:, None] + np.arange(codec(kind).tokens_a_sample)
        np.testing.assert_array_equal(corpus.splits["test"][starts.reshape(-1)], codec(kind).bos_ids * 2)


def test_a_stream_reads_sounds_as_it_reads_text():
    whole = codec("mu-law").encode(SAMPLES)
    of_sound, of_array = (
        TokenStream(Laid(Documents.one(tokens)), 3, 8) for tokens in (EncodedSamples(SAMPLES, codec("mu-law")), whole)
    )
    for _ in range(10):
        for mine, other in zip(of_sound.next(), of_array.next(), strict=True):
            assert mine.equal(other)


def test_another_sample_rate_is_refused():
    with pytest.raises(SeqmemError, match=r"sounds have 16000 .* the codec 8000; set codec\.sample_rate = 16000"):
        AudioCorpus.build(store([SAMPLES], sample_rate=16000), codec("mu-law"))

"""Evaluation by document against every document read alone; where nats come from against counting them by hand."""

import math
import random
from collections import Counter, defaultdict

import numpy as np
import pytest
import torch
from torch import Tensor

from seqmem.config import TokenizerConfig
from seqmem.data.byte_tokenizer import ByteTokenizer
from seqmem.data.documents import Documents
from seqmem.data.sources.source import Text
from seqmem.data.text_vocabulary import TextVocabulary
from seqmem.data.tokenizers import new_tokenizer
from seqmem.data.word_frequency import CLASSES, WordCounts
from seqmem.models import build_model
from seqmem.models.base import CausalModel
from seqmem.ops import bind
from seqmem.train.evaluate import evaluate
from seqmem.train.evaluation import TextEvaluation

MODELS = {
    "transformer-xl": {"segment_len": 5, "mem_len": 7},
    "transformer-xl, zeros": {"segment_len": 5, "mem_len": 7, "memory_init": "zeros"},
    "compressive": {"segment_len": 4, "mem_len": 4, "cmem_len": 4, "compression_rate": 2},
    "reformer": {"segment_len": 4, "mem_len": 6, "chunk_len": 2},
    "titans-mac": {"segment_len": 6},
    "titans-mal": {"segment_len": 6, "window": 5},
    "feedback": {"segment_len": 5, "mem_len": 8},
    "longformer-lm": {"segment_len": 7},
    "bigbird-lm": {},
    "linear-transformer": {"segment_len": 5, "carry": True},
    "wavenet": {"segment_len": 4},
    "lstm": {"segment_len": 4},
}
BYTES = ByteTokenizer()


def texts() -> list[str]:
    """Lengths on every side of a segment's, none at all included."""
    rng = random.Random(0)
    words = ["a", "an", "the", "cat", "sat", "on", "mats", "hätte", "\n"]
    return [" ".join(rng.choices(words, k=count)) for count in (9, 0, 1, 22, 4, 14)]


def documents(given: list[str], vocabulary: TextVocabulary = BYTES) -> Documents:
    tokens = vocabulary.encode_documents(given)
    return Documents(tokens, np.flatnonzero(tokens == vocabulary.bos_id), vocabulary.bos_ids)


def make(label: str, vocab_size: int = BYTES.vocab_size) -> CausalModel:
    torch.manual_seed(0)
    name = f"{label.partition(',')[0]}/tiny"
    model = build_model(name, bind("pytorch"), vocab_size=vocab_size, **MODELS[label]).double()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, 0, 0.2)
    return model.eval()


@torch.no_grad()
def nats_alone(model: CausalModel, ids: np.ndarray) -> Tensor:
    """Of each token but the first, in one call from an empty memory."""
    window = torch.from_numpy(ids.astype(np.int64))[None]
    return model.head.nll(model(window[:, :-1]).hidden[0], window[0, 1:])


def parts(of: Documents) -> list[np.ndarray]:
    return [of.tokens[start : start + size] for start, size in zip(of.starts, of.sizes, strict=True)]


@pytest.mark.parametrize("label", MODELS)
@pytest.mark.parametrize("batch_size", [1, 4])
def test_reset_is_every_document_alone(label, batch_size):
    model, text = make(label), documents(texts())
    alone = [nats_alone(model, ids).sum().item() for ids in parts(text) if len(ids) > 1]
    found = evaluate(model, text, BYTES, at_document_end="reset", batch_size=batch_size)
    assert found.total_nats == pytest.approx(math.fsum(alone), rel=1e-11)
    assert found.num_tokens == found.num_bytes == sum(len(text.encode()) for text in texts())
    assert (found.num_documents, found.to_json()["at_document_end"]) == (6, "reset")
    assert "carried from segment to segment, reset at a document's end" in found.table()


@pytest.mark.parametrize("segment_len", [1, 3, 16, 500])
def test_reset_is_the_same_in_segments_of_any_length_where_memory_is(segment_len):
    """An LSTM's memory does not know of segments."""
    model, text = make("lstm").with_lengths(segment_len=segment_len), documents(texts())
    alone = [nats_alone(model, ids).sum().item() for ids in parts(text) if len(ids) > 1]
    found = evaluate(model, text, BYTES, at_document_end="reset", batch_size=3)
    assert found.total_nats == pytest.approx(math.fsum(alone), rel=1e-11)


@pytest.mark.parametrize("label", MODELS)
def test_carry_in_one_stream_is_one_pass(label):
    model, text = make(label), documents(texts())
    nats = nats_alone(model, text.tokens)[text.tokens[1:] != BYTES.bos_id]
    found = evaluate(model, text, BYTES)
    assert found.total_nats == pytest.approx(nats.sum().item(), rel=1e-11)
    assert "carried from segment to segment and from document to document; 1 stream" in found.table()


@pytest.mark.parametrize("at_document_end", ["carry", "reset"])
@pytest.mark.parametrize(("context", "stride"), [(8, 3), (5, 5), (2, 1), (400, 7)])
@pytest.mark.parametrize("batch_size", [1, 4])
def test_windows_are_those_that_anyone_would_cut(at_document_end, context, stride, batch_size):
    model, text = make("transformer-xl"), documents(texts())
    wanted = []
    for ids in parts(text) if at_document_end == "reset" else [text.tokens]:
        done = 0  # the last target scored
        while done < len(ids) - 1:
            last = min(len(ids) - 1, done + (stride if done else context))
            nats = nats_alone(model, ids[max(0, last - context) : last + 1])[-(last - done) :]
            wanted += nats[ids[done + 1 : last + 1] != BYTES.bos_id].tolist()
            done = last
    found = evaluate(
        model, text, BYTES, at_document_end=at_document_end, windows=(context, stride), batch_size=batch_size
    )
    assert found.total_nats == pytest.approx(math.fsum(wanted), rel=1e-11)
    assert sum(share.count for share in found.by_position_in_window or ()) == found.num_tokens
    assert ("none with more than one document" in found.context) == (at_document_end == "reset")


def test_by_position_is_by_the_tokens_of_the_own_document():
    model, text = make("lstm"), documents(texts())
    costs: defaultdict[str, list[float]] = defaultdict(list)
    names = {0: "0", 1: "1", 2: "2 to 3", 3: "4 to 7", 4: "8 to 15", 5: "16 to 31", 6: "32 to 63", 7: "64 to 127"}
    for ids in parts(text):
        for before, nats in enumerate(nats_alone(model, ids).tolist() if len(ids) > 1 else ()):
            costs[names[before.bit_length()]].append(nats)
    found = evaluate(model, text, BYTES, at_document_end="reset", batch_size=2)
    assert [share.of for share in found.by_position] == [name for name in names.values() if name in costs]
    for share in found.by_position:
        assert share.count == len(costs[share.of])
        assert share.nats == pytest.approx(np.mean(costs[share.of]))
    assert found.to_json()["by_position"][0] == {"of": "0", "count": 5, "nats": pytest.approx(np.mean(costs["0"]))}


TRAINING = ["the the the cat\n" * 4001, "cat, hätte", "on " * 150]
BOOKS = ["the cat sat\n on the mats", "hätte the on \n\n cat, the", "", "unheard-of"]
KNOWN = {b"the": CLASSES[0], b"cat": CLASSES[1], b"on": CLASSES[2], b"cat,": CLASSES[4], "hätte".encode(): CLASSES[4]}


@pytest.mark.parametrize(("kind", "vocab_size"), [("bytes", 257), ("unigram", 275), ("bpe", 300)])
@pytest.mark.parametrize(
    "way", [{}, {"at_document_end": "reset", "batch_size": 3}, {"windows": (9, 4), "batch_size": 5}]
)
def test_nats_by_word_frequency(kind, vocab_size, way):
    """Words here end with a space or a line break; that is where tokens that begin a word are."""
    sources = [Text("", text) for text in (*TRAINING, *BOOKS)]
    tokenizer = new_tokenizer(sources, TokenizerConfig(kind=kind, vocab_size=vocab_size))
    model, text = make("lstm", tokenizer.vocab_size), documents(BOOKS, tokenizer)
    counts = WordCounts(documents(TRAINING, tokenizer), tokenizer)
    found = evaluate(model, text, tokenizer, words=counts, **way)
    shares = {share.of: share for share in found.by_word_frequency or ()}
    assert math.fsum(share.count * share.nats for share in shares.values()) == pytest.approx(found.total_nats)
    words = Counter(KNOWN.get(word, "never") for book in BOOKS for word in book.encode().split())
    assert {name: share.count for name, share in shares.items() if name != "white space"} == words
    if way.get("at_document_end") != "reset":
        return
    nats: Counter[str] = Counter()
    for ids in parts(text):
        now = "white space"
        begins = np.concatenate([tokenizer.begins_word(ids[1:]), [True]])
        for place, cost in enumerate(nats_alone(model, ids).tolist() if len(ids) > 1 else ()):
            if begins[place]:
                end = place + 1 + int(begins[place + 1 :].argmax())
                word = tokenizer.decode_bytes(ids[1 + place : 1 + end].tolist()).strip()
                now = KNOWN.get(word, "never") if word else "white space"
            nats[now] += cost
    for name, share in shares.items():
        assert share.nats * share.count == pytest.approx(nats[name])


def test_counting_words_stops_and_no_chunk_cuts_one(monkeypatch):
    text = documents(TRAINING)
    whole = WordCounts(text, BYTES)
    monkeypatch.setattr("seqmem.data.word_frequency.CHUNK", 7)
    assert WordCounts(text, BYTES)._counts == whole._counts
    assert whole._counts[b"the"] == 12_003
    assert WordCounts(text, BYTES, limit=100)._counts[b"the"] == 19


def test_tables_are_printed_apart():
    tokenizer = BYTES
    found = evaluate(make("lstm"), documents(BOOKS), tokenizer, words=WordCounts(documents(TRAINING), tokenizer))
    tables = found.tables()
    assert "tokens of the document before it" in tables
    assert "over 10,000" in tables
    assert "window before it" not in tables
    assert "over 10,000" not in found.table()


def measured(num_documents: int, num_words: int) -> TextEvaluation:
    return TextEvaluation(
        text="books",
        total_nats=2e7,
        num_tokens=10_000_000,
        num_documents=num_documents,
        lengths={"segment_len": 4},
        memory="nothing",
        at_document_end="carry",
        num_streams=1,
        windows=None,
        by_position=[],
        by_position_in_window=None,
        by_word_frequency=None,
        num_bytes=40_000_000,
        num_words=num_words,
        tokenizer_hash="0" * 16,
    )


@pytest.mark.parametrize(
    ("num_documents", "num_words", "number", "of"),
    [
        (100, 6_966_499, 6_966_499, "official PG-19 test words"),
        (100, 6_966_000, 6_966_499, "official PG-19 test words"),
        (50, 3_008_000, 3_007_061, "official PG-19 validation words"),
        (28_602, 1_973_136_207, 1_973_136_207, "official PG-19 train words"),
        (100, 6_950_000, 6_950_000, "whitespace words"),
        (99, 6_966_499, 6_966_499, "whitespace words"),
        (50, 6_966_499, 6_966_499, "whitespace words"),
    ],
)
def test_the_true_splits_of_pg19_are_divided_by_their_official_words(num_documents, num_words, number, of):
    found = measured(num_documents, num_words)
    assert found.word_perplexity == pytest.approx(math.exp(2e7 / number))
    assert f"(total nats / {number:,} {of})" in found.table()
    assert found.to_json()["word_perplexity_divides_by"] == {"number": number, "of": of}
    assert found.to_json()["num_words"] == num_words

"""Masked tokens: which are picked, what stands in their place, and that chance depends on seed and place alone."""

from itertools import chain

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from seqmem.config import MaskingConfig, TokenizerConfig
from seqmem.data.masking import MaskedBatches, Masking
from seqmem.data.segments import Segments
from seqmem.data.shuffle import Shuffle, generator
from seqmem.data.special_ids import SpecialIds
from seqmem.data.tokenizer import Tokenizer
from seqmem.errors import SeqmemError

TEXT = "the cat sat on the mat\nthe uncommonly long rat  sat\ton the hat\n" * 40
TOKENIZER = Tokenizer.train([TEXT], TokenizerConfig(vocab_size=276))
SPECIAL = SpecialIds.after(TOKENIZER.vocab_size)
IDS = TOKENIZER.encode(TEXT).astype(np.int64)


def masking(**values) -> Masking:
    return Masking(MaskingConfig(**values), TOKENIZER)


def batches(seed: int = 3, **values) -> MaskedBatches:
    tokens = TOKENIZER.encode_documents([TEXT, TEXT[:70]])
    return MaskedBatches(Segments(tokens, TOKENIZER.bos_id, 23, "text"), masking(**values), 4, seed)


def test_special_ids_are_no_text():
    ids = [SPECIAL.pad, SPECIAL.cls, SPECIAL.sep, SPECIAL.mask]
    assert ids == list(range(TOKENIZER.vocab_size, TOKENIZER.vocab_size + SpecialIds.COUNT))


def test_a_word_begins_at_a_space_a_line_break_and_after_one():
    ids = TOKENIZER.encode("an uncommonly\nlong \n rat")
    starts = np.flatnonzero(TOKENIZER.begins_word(ids))
    words = [TOKENIZER.decode(ids[a:b]) for a, b in zip(starts, [*starts[1:], len(ids)], strict=True)]
    assert words == ["an", " uncommonly", "\n", "long", " ", "\n", " rat"]
    assert len(ids) > len(words)


@settings(max_examples=40, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 40), min_size=1, max_size=5),
    seed=st.integers(0, 99),
    whole=st.booleans(),
    probability=st.floats(0.01, 0.99),
)
def test_only_text_is_picked_and_the_rest_is_as_it_was(lengths, seed, whole, probability):
    texts = [IDS[seed : seed + length] for length in lengths]
    numbers = [generator(seed, row) for row in range(len(texts))]
    inputs, valid, places, targets = masking(whole_words=whole, probability=probability).batch(texts, numbers)
    assert valid.sum(1).tolist() == [length + 2 for length in lengths]
    row, column = places // inputs.shape[1], places % inputs.shape[1]
    assert len(set(places.tolist())) == len(places) >= len(texts)
    assert set(row.tolist()) == set(range(len(texts)))
    restored = inputs.clone()
    restored[row, column] = targets
    for index, text in enumerate(texts):
        expected = [SPECIAL.cls, *text, SPECIAL.sep]
        assert restored[index].tolist() == expected + [SPECIAL.pad] * (inputs.shape[1] - len(expected))
    assert bool(((column > 0) & (column <= torch.tensor(lengths)[row])).all())


@settings(max_examples=40, deadline=None)
@given(start=st.integers(0, 50), length=st.integers(1, 60), seed=st.integers(0, 999))
def test_all_pieces_of_a_word_are_picked_together(start, length, seed):
    ids = IDS[start : start + length]
    picked = masking(whole_words=True, probability=0.3).pick(ids, generator(seed))
    word = np.cumsum(TOKENIZER.begins_word(ids))
    assert picked.any()
    assert all(len(set(picked[word == number])) == 1 for number in set(word))


@pytest.mark.parametrize("whole_words", [False, True])
def test_as_many_are_picked_and_hidden_as_published(whole_words):
    ids = np.tile(IDS, 60)
    random, mask = generator(5), masking(whole_words=whole_words)
    picked = mask.pick(ids, random)
    assert picked.mean() == pytest.approx(0.15, abs=0.006)
    hidden = mask.hide(ids, picked, random)
    assert (hidden[~picked] == ids[~picked]).all()
    shown = hidden[picked]
    assert (shown == SPECIAL.mask).mean() == pytest.approx(0.8, abs=0.02)
    kept = shown == ids[picked]
    assert kept.mean() == pytest.approx(0.1, abs=0.02)
    others = shown[~kept & (shown != SPECIAL.mask)]
    assert len(others) / len(shown) == pytest.approx(0.1, abs=0.02)
    assert TOKENIZER.num_bytes[others].all()
    assert len(set(others)) > 150


def test_batches_depend_on_seed_and_cursor_alone():
    first, again, other = batches(), batches(), batches(seed=-4)
    read = [first.next() for _ in range(30)]
    again.cursor = 4 * 17
    for mine, theirs in zip(read[17:], [again.next() for _ in range(13)], strict=True):
        assert all(torch.equal(a, b) for a, b in zip(mine, theirs, strict=True))
    assert again.cursor == first.cursor == 120
    assert not torch.equal(read[0][0][:, :20], other.next()[0][:, :20])


@given(count=st.integers(1, 30), seed=st.integers(-5, 5))
def test_every_epoch_has_all_in_an_order_of_its_own(count, seed):
    order = Shuffle(count, seed)
    epochs = [[order[place] for place in range(epoch * count, (epoch + 1) * count)] for epoch in range(3)]
    assert all(sorted(epoch) == list(range(count)) for epoch in epochs)
    assert count < 10 or epochs[0] != epochs[1]


@settings(max_examples=40, deadline=None)
@given(sizes=st.lists(st.integers(0, 30), min_size=1, max_size=6), length=st.integers(1, 12))
def test_segments_are_the_documents_in_order_and_equally_long(sizes, length):
    documents = [list(range(10 + 40 * number, 10 + 40 * number + size)) for number, size in enumerate(sizes)]
    tokens = np.array([token for document in documents for token in (1, *document)])
    if not any(sizes):
        with pytest.raises(SeqmemError, match="text has no text"):
            Segments(tokens, 1, length, "text")
        return
    segments = Segments(tokens, 1, length, "text")
    read = [segments[number].tolist() for number in range(len(segments))]
    assert [*chain(*read)] == [*chain(*documents)]
    for document in documents:
        mine = [len(segment) for segment in read if segment[0] in document]
        assert len(mine) == -(-len(document) // length)
        assert not mine or (max(mine) <= length and max(mine) - min(mine) <= 1)

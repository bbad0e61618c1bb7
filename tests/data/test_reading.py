"""Going through documents once takes every token as a target once, in rows and in windows."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from seqmem.data.documents import Documents
from seqmem.data.reading import Rows, overlapping_windows

BOS = 1


def documents(*texts: list[int]) -> Documents:
    """Every text after a BOS."""
    tokens = [token for text in texts for token in (BOS, *text)]
    starts = np.cumsum([0, *(1 + len(text) for text in texts[:-1])])
    return Documents(np.array(tokens, dtype=np.uint16), starts, (BOS,))


def some(lengths: list[int]) -> Documents:
    """Texts of so many tokens, all of them different."""
    ends = np.cumsum([10, *lengths])
    return documents(*(list(range(begin, end)) for begin, end in pairwise(ends.tolist())))


TWO = documents(list(range(10, 33)), list(range(33, 51)))


@pytest.mark.parametrize("batch_size", [1, 2, 3, 7])
@pytest.mark.parametrize("segment_len", [1, 4, 64])
def test_rows_score_every_token_once_but_no_bos(batch_size, segment_len):
    rows: list[list[int]] = [[] for _ in range(batch_size)]
    previous = None
    for inputs, targets, scored, _, places in Rows.end_to_end(TWO, batch_size).segments(segment_len):
        assert inputs.shape == targets.shape == scored.shape == places.shape
        assert inputs.shape[1] <= segment_len
        if previous is not None:
            assert (inputs[:, 0] == previous).all()
        previous = targets[:, -1]
        assert (inputs[:, 1:] == targets[:, :-1]).all()
        assert TWO.tokens[places[scored.numpy()]].tolist() == targets[scored].tolist()
        for row, target, keep in zip(rows, targets, scored, strict=True):
            row += target[keep].tolist()
    assert [target for row in rows for target in row] == list(range(10, 51))


@settings(deadline=None)
@given(num_tokens=st.integers(2, 40), batch_size=st.integers(1, 9), segment_len=st.integers(1, 12))
def test_rows_are_parts_of_the_text_filled_with_bos(num_tokens, batch_size, segment_len):
    text = documents(list(range(10, 9 + num_tokens)))
    row_len = -(-(num_tokens - 1) // batch_size)
    padded = np.full(batch_size * row_len + 1, BOS)
    padded[:num_tokens] = text.tokens
    rows = [torch.from_numpy(part.reshape(batch_size, row_len)) for part in (padded[:-1], padded[1:])]
    segments = Rows.end_to_end(text, batch_size).segments(segment_len)
    inputs, targets, scored = (torch.cat(parts, 1) for parts in list(zip(*segments, strict=True))[:3])
    assert inputs.dtype == targets.dtype == torch.int64
    assert torch.equal(inputs, rows[0])
    assert torch.equal(targets, rows[1])
    assert torch.equal(scored, rows[1] != BOS)


def test_the_last_short_segment_is_kept():
    segments = list(Rows.end_to_end(documents(list(range(11, 21))), 1).segments(4))
    assert [read.inputs.shape[1] for read in segments] == [4, 4, 2]


@pytest.mark.parametrize("batch_size", [1, 4])
def test_an_empty_split_has_no_segments(batch_size):
    nothing = Documents(np.array([], dtype=np.uint16), np.array([], dtype=np.int64), (BOS,))
    assert list(Rows.end_to_end(nothing, batch_size).segments(4)) == []
    assert list(Rows.by_document(nothing, batch_size, 4).segments(4)) == []
    assert [*overlapping_windows(nothing, batch_size, 4, 2)] == []
    assert [*overlapping_windows(nothing, batch_size, 4, 2, by_document=True)] == []


@settings(deadline=None)
@given(
    lengths=st.lists(st.integers(0, 30), min_size=1, max_size=9),
    batch_size=st.integers(1, 5),
    segment_len=st.integers(1, 8),
    segments_a_period=st.integers(1, 3),
)
def test_by_document_every_document_begins_a_segment_of_one_row(lengths, batch_size, segment_len, segments_a_period):
    text, period = some(lengths), segments_a_period * segment_len
    rows = Rows.by_document(text, batch_size, period)
    now: list[list[int]] = [[] for _ in range(len(rows))]
    found: list[list[list[int]]] = [[] for _ in range(len(rows))]
    for number, read in enumerate(rows.segments(segment_len)):
        for row in range(len(rows)):
            if read.begins[row]:
                assert number % segments_a_period == 0
                assert read.inputs[row, 0] == BOS
                now[row] = []
                found[row].append(now[row])
            now[row] += read.targets[row, read.scored[row]].tolist()
    texts = [
        text.tokens[start + 1 : start + size].tolist() for start, size in zip(text.starts, text.sizes, strict=True)
    ]
    read_texts = [document for row in found for document in row if document]
    assert sorted(read_texts) == sorted(document for document in texts if document)
    room = [sum(-(-len(document) // period) for document in row) for row in found]
    longest = max(-(-(length + 1) // period) for length in lengths)
    assert max(room) - min(room) <= longest + len(lengths), "rows are about equally long"


@pytest.mark.parametrize("batch_size", [1, 3, 50])
@pytest.mark.parametrize(
    ("num_tokens", "context", "stride"), [(30, 8, 3), (30, 8, 8), (30, 8, 1), (9, 8, 5), (5, 8, 2), (2, 1, 1)]
)
@pytest.mark.parametrize("by_document", [False, True])
def test_overlapping_windows_score_every_token_once_after_enough_context(
    num_tokens, context, stride, batch_size, by_document
):
    text, found = documents(list(range(101, 100 + num_tokens))), []
    for read in overlapping_windows(text, batch_size, context, stride, by_document=by_document):
        assert len(read.inputs) <= batch_size
        assert torch.equal(read.inputs[:, 1:], read.targets[:, :-1])
        for targets, scored in zip(read.targets, read.scored, strict=True):
            new = targets[scored].tolist()
            seen_before = int(scored.int().argmax())
            assert new[0] == 101 or seen_before >= context - stride
            assert scored[seen_before:].all()
            found += new
    assert found == list(range(101, 100 + num_tokens))


def test_overlapping_windows_leave_bos_out():
    reads = overlapping_windows(documents([7, 8], [9, 10]), 1, 3, 2)
    assert [read.targets[read.scored].tolist() for read in reads] == [[7, 8], [9, 10]]


@settings(deadline=None)
@given(
    lengths=st.lists(st.integers(0, 20), min_size=1, max_size=6),
    batch_size=st.integers(1, 5),
    context=st.integers(1, 9),
    stride=st.integers(1, 9),
)
def test_by_document_a_window_is_of_one_document(lengths, batch_size, context, stride):
    stride = min(stride, context)
    text = some(lengths)
    found = []
    for read in overlapping_windows(text, batch_size, context, stride, by_document=True):
        for inputs, targets, scored in zip(read.inputs.tolist(), read.targets, read.scored, strict=True):
            new = targets[scored].tolist()
            found += new
            seen = [token for token in inputs if token != BOS]
            whole = range(seen[0] if seen else new[0], new[-1] + 1)
            assert seen == list(whole)[: len(seen)]
            assert (
                len({int(np.searchsorted(text.starts, np.flatnonzero(text.tokens == t)[0], "right")) for t in whole})
                == 1
            )
    assert found == [token for token in text.tokens.tolist() if token != BOS]

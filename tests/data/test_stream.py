"""Training streams never jump; evaluation takes every token as a target once."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from seqmem.data.stream import TokenStream, evaluation_segments, overlapping_windows
from seqmem.errors import SeqmemError

BOS = 1


def test_targets_are_inputs_one_token_later():
    inputs, targets = TokenStream(np.arange(100, dtype=np.uint16), batch_size=4, segment_len=5).next()
    assert inputs.dtype == targets.dtype == torch.int64
    assert inputs.tolist() == [[start + i for i in range(5)] for start in (0, 25, 50, 75)]
    assert (targets == inputs + 1).all()


@pytest.mark.parametrize("num_tokens", [100, 103])
def test_every_reader_goes_round_the_ring_without_a_jump(num_tokens):
    stream = TokenStream(np.arange(num_tokens), batch_size=4, segment_len=7)
    rows = torch.cat([stream.next()[0] for _ in range(60)], dim=1)
    assert ((rows[:, 1:] - rows[:, :-1]) % num_tokens == 1).all()
    assert all(set(row.tolist()) == set(range(num_tokens)) for row in rows)


def test_cursor_restores_the_place():
    stream, other = (TokenStream(np.arange(50), batch_size=3, segment_len=4) for _ in range(2))
    for _ in range(9):
        stream.next()
    other.cursor = stream.cursor
    assert (stream.next()[0] == other.next()[0]).all()


def test_fewer_tokens_than_readers_is_an_error():
    with pytest.raises(SeqmemError, match=r"train.batch_size = 16: .* only 9 tokens"):
        TokenStream(np.arange(9), batch_size=16, segment_len=4)


@pytest.mark.parametrize("batch_size", [1, 2, 3, 7])
@pytest.mark.parametrize("segment_len", [1, 4, 64])
def test_evaluation_scores_every_token_once_but_no_bos(batch_size, segment_len):
    tokens = np.array([BOS, *range(10, 33), BOS, *range(33, 51)], dtype=np.uint16)
    rows: list[list[int]] = [[] for _ in range(batch_size)]
    previous = None
    for inputs, targets, scored in evaluation_segments(tokens, batch_size, segment_len, BOS):
        assert inputs.shape == targets.shape == scored.shape
        assert inputs.shape[1] <= segment_len
        if previous is not None:
            assert (inputs[:, 0] == previous).all()
        previous = targets[:, -1]
        assert (inputs[:, 1:] == targets[:, :-1]).all()
        for row, target, keep in zip(rows, targets, scored, strict=True):
            row += target[keep].tolist()
    assert [target for row in rows for target in row] == list(range(10, 51))


@settings(deadline=None)
@given(num_tokens=st.integers(2, 40), batch_size=st.integers(1, 9), segment_len=st.integers(1, 12))
def test_evaluation_segments_are_cut_from_rows_filled_with_bos(num_tokens, batch_size, segment_len):
    tokens = np.arange(10, 10 + num_tokens, dtype=np.uint16)
    row_len = -(-(num_tokens - 1) // batch_size)
    padded = np.full(batch_size * row_len + 1, BOS)
    padded[:num_tokens] = tokens
    rows = [torch.from_numpy(part.reshape(batch_size, row_len)) for part in (padded[:-1], padded[1:])]
    segments = evaluation_segments(tokens, batch_size, segment_len, BOS)
    inputs, targets, scored = (torch.cat(parts, 1) for parts in zip(*segments, strict=True))
    assert inputs.dtype == targets.dtype == torch.int64
    assert torch.equal(inputs, rows[0])
    assert torch.equal(targets, rows[1])
    assert torch.equal(scored, rows[1] != BOS)


def test_evaluation_keeps_the_last_short_segment():
    segments = list(evaluation_segments(np.arange(10, 21), 1, 4, BOS))
    assert [inputs.shape[1] for inputs, _, _ in segments] == [4, 4, 2]


def test_evaluation_of_an_empty_split_has_no_segments():
    assert list(evaluation_segments(np.array([], dtype=np.uint16), 1, 4, BOS)) == []


@pytest.mark.parametrize("batch_size", [1, 3, 50])
@pytest.mark.parametrize(
    ("num_tokens", "context", "stride"), [(30, 8, 3), (30, 8, 8), (30, 8, 1), (9, 8, 5), (5, 8, 2), (2, 1, 1)]
)
def test_overlapping_windows_score_every_token_once_after_enough_context(num_tokens, context, stride, batch_size):
    tokens = np.arange(100, 100 + num_tokens)
    found = []
    for inputs, targets, scored in overlapping_windows(tokens, batch_size, context, stride, BOS):
        assert len(inputs) <= batch_size
        assert torch.equal(inputs[:, 1:], targets[:, :-1])
        for row in range(len(inputs)):
            new = targets[row, scored[row]].tolist()
            seen_before = int(scored[row].int().argmax())
            assert new[0] == 101 or seen_before >= context - stride
            assert scored[row, seen_before:].all()
            found += new
    assert found == list(range(101, 100 + num_tokens))


def test_overlapping_windows_leave_bos_out():
    tokens = np.array([BOS, 7, 8, BOS, 9, 10])
    scored = [targets[mask].tolist() for _, targets, mask in overlapping_windows(tokens, 1, 3, 2, BOS)]
    assert scored == [[7, 8], [9, 10]]

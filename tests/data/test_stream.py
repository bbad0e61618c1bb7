"""Training streams never jump; where memory is to be emptied, each document begins with a segment."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from seqmem.data.documents import Documents, Laid
from seqmem.data.stream import TokenStream
from seqmem.errors import SeqmemError

BOS = 1


def laid(sizes: list[int], multiple: int = 1) -> Laid:
    """Documents of so many tokens each, BOS included; every other token of all has an id of its own."""
    parts, first = [], 10
    for size in sizes:
        parts += [BOS, *range(first, first + size - 1)]
        first += size - 1
    starts = np.cumsum([0, *sizes[:-1]])
    return Laid(Documents(np.array(parts, dtype=np.uint16), starts, (BOS,)), multiple)


def ring(num_tokens: int, dtype: type = np.int64) -> Laid:
    return Laid(Documents.one(np.arange(num_tokens, dtype=dtype)))


def test_targets_are_inputs_one_token_later():
    inputs, targets, scored, begins = TokenStream(ring(100, np.uint16), batch_size=4, segment_len=5).next()
    assert inputs.dtype == targets.dtype == torch.int64
    assert inputs.tolist() == [[start + i for i in range(5)] for start in (0, 25, 50, 75)]
    assert (targets == inputs + 1).all()
    assert scored.all()
    assert begins.tolist() == [True, False, False, False]


@pytest.mark.parametrize("num_tokens", [100, 103])
def test_every_reader_goes_round_the_ring_without_a_jump(num_tokens):
    stream = TokenStream(ring(num_tokens), batch_size=4, segment_len=7)
    rows = torch.cat([stream.next().inputs for _ in range(60)], dim=1)
    assert ((rows[:, 1:] - rows[:, :-1]) % num_tokens == 1).all()
    assert all(set(row.tolist()) == set(range(num_tokens)) for row in rows)


@pytest.mark.parametrize("text", [ring(50), laid([9, 4, 30, 1], 8)])
def test_cursor_restores_the_place(text):
    stream, other = (TokenStream(text, batch_size=3, segment_len=4) for _ in range(2))
    for _ in range(9):
        stream.next()
    other.cursor = stream.cursor
    for mine, others in zip(stream.next(), other.next(), strict=True):
        assert mine.equal(others)


@settings(deadline=None)
@given(
    sizes=st.lists(st.integers(1, 30), min_size=1, max_size=8),
    segment_len=st.integers(1, 9),
    segments_a_period=st.integers(1, 3),
    batch_size=st.integers(1, 4),
)
def test_an_epoch_of_documents_that_begin_with_a_segment(sizes, segment_len, segments_a_period, batch_size):
    period = segments_a_period * segment_len
    text = laid(sizes, period)
    if len(text) < batch_size * period:
        with pytest.raises(SeqmemError, match=rf"has only {len(text) // period} (tokens|places to start at); lower it"):
            TokenStream(text, batch_size, segment_len)
        return
    stream = TokenStream(text, batch_size, segment_len)
    segments = [stream.next() for _ in range(len(text) // segment_len)]
    inputs, targets, scored, _ = (torch.cat(parts, -1) for parts in zip(*segments, strict=True))
    begins = torch.stack([segment.begins for segment in segments], 1)
    whole = text.documents.tokens.tolist()
    for row in range(batch_size):
        read = inputs[row, scored[row]].tolist()
        assert sorted(read) == sorted(whole), "each token once, whatever the row began with"
        assert (inputs[row, ~scored[row]] == BOS).all()
        new = torch.zeros_like(scored[row]).view(-1, segment_len)
        new[:, 0] = begins[row]
        assert (inputs[row, new.flatten()] == BOS).all()
        assert int(begins[row].sum()) == len(sizes)
        assert begins[row].nonzero().flatten().remainder(segments_a_period).eq(0).all()
        follows = dict(zip(whole, [*whole[1:], BOS], strict=True))
        for token, target in zip(inputs[row, scored[row]].tolist(), targets[row, scored[row]].tolist(), strict=True):
            assert token == BOS or target == follows[token], "what follows a document's last token is BOS"
    assert text.filling == pytest.approx(1 - scored[0].double().mean().item())


@settings(deadline=None)
@given(world_size=st.integers(1, 4), batch_size=st.integers(1, 3), multiple=st.sampled_from([1, 6]))
def test_rows_of_all_ranks_are_those_of_one_process(world_size, batch_size, multiple):
    text = laid([40, 3, 17, 25, 31], multiple)
    ranks = [TokenStream(text, batch_size, 6, rank=rank, world_size=world_size) for rank in range(world_size)]
    alone = TokenStream(text, world_size * batch_size, 6)
    for _ in range(30):
        for parts, whole in zip(zip(*(rank.next() for rank in ranks), strict=True), alone.next(), strict=True):
            assert torch.cat(parts).equal(whole)


def test_fewer_tokens_than_readers_is_an_error():
    with pytest.raises(SeqmemError, match=r"train.batch_size = 16: .* only 9 tokens; lower it"):
        TokenStream(ring(9), batch_size=16, segment_len=4)

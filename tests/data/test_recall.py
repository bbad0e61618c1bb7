"""Puzzles in long texts: facts are where they should be, answers follow from them and from nothing else."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from seqmem.config import RecallConfig
from seqmem.data.byte_tokenizer import ByteTokenizer
from seqmem.data.puzzles import KEYS, KINDS, MARK, NAMES, NUM_SYMBOLS, THINGS, VALUES
from seqmem.data.recall import RecallBatches, Sequences
from seqmem.data.shuffle import generator
from seqmem.errors import SeqmemError
from seqmem.schema import validated

TEXT = "And the évening and the morning were the first day.\n" * 9
TOKENS = ByteTokenizer().encode_documents([TEXT, TEXT])
TASKS = sorted(KINDS)
KEYS_OF = {"passkey": 1}


def drawn(task: str, length: int = 900, depth: float = 0.5, number: int = 0) -> tuple[np.ndarray, np.ndarray]:
    return Sequences(task, TOKENS, "the text").draw(KEYS_OF.get(task, 6), length, depth, number)


def text_of(ids: np.ndarray) -> str:
    return ByteTokenizer().decode(ids.tolist())


def answers(ids: np.ndarray, numbers: np.ndarray) -> list[np.ndarray]:
    return [ids[numbers == number] for number in range(numbers.max() + 1)]


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(TASKS), st.integers(600, 900), st.floats(0, 1), st.integers(0, 99))
def test_every_sequence_is_as_long_as_asked_and_ends_with_an_answer(task, length, depth, number):
    ids, numbers = drawn(task, length, depth, number)
    assert ids.shape == numbers.shape == (length,)
    assert ids.min() >= 0
    assert ids.max() < 256
    assert numbers[-1] == numbers.max() >= 0
    assert (np.diff(numbers[numbers >= 0]) >= 0).all()
    assert all(len(answer) for answer in answers(ids, numbers))


@pytest.mark.parametrize("number", range(5))
def test_pairs_are_asked_for_once_each(number):
    ids, numbers = drawn("associative", number=number)
    (symbols,) = np.nonzero(ids >= 128)
    pairs = ids[symbols[:12]].reshape(6, 2)
    assert (np.diff(symbols[:12]) == 1).all()
    assert np.isin(pairs[:, 0], KEYS).all()
    assert np.isin(pairs[:, 1], VALUES).all()
    asked = ids[-12:].reshape(6, 2)
    assert sorted(map(tuple, asked)) == sorted(map(tuple, pairs))
    assert (numbers[-12:].reshape(6, 2) == [[-1, index] for index in range(6)]).all()


def test_a_copy_repeats_what_followed_the_mark():
    ids, numbers = drawn("copy")
    first, second = np.flatnonzero(ids == MARK)
    assert (ids[first : first + 7] == ids[second:]).all()
    assert (numbers[second:] == np.arange(-1, 6)).all()


@pytest.mark.parametrize("task", ["passkey", "number", "word"])
@pytest.mark.parametrize("number", range(5))
def test_the_answer_of_a_needle_stands_in_the_text(task, number):
    ids, numbers = drawn(task, number=number)
    text, (answer,) = text_of(ids), map(text_of, answers(ids, numbers))
    begin, question = text.removesuffix(answer).rsplit("\n", 1)
    if task == "passkey":
        assert f"The pass key is {answer}. Remember it." in begin
        return
    name = next(name for name in NAMES if name in question)
    said = f"\nThe number of {name} is {answer}.\n" if task == "number" else f"\n{name} had the {answer}.\n"
    assert begin.count(said) == 1
    assert begin.count("\nThe number of " if task == "number" else " had the ") == 6


@pytest.mark.parametrize("depth", [0.0, 0.25, 1.0])
def test_the_first_fact_stands_at_its_depth(depth):
    ids, _ = drawn("associative", depth=depth)
    assert np.argmax(ids >= 128) == round(depth * (900 - 24))


@pytest.mark.parametrize("task", TASKS)
def test_chance_is_that_of_a_blind_guess(task):
    """Values are drawn independently: no answer says anything about another."""
    random = generator(0)
    puzzles = [KINDS[task].make(KEYS_OF.get(task, 6), random) for _ in range(300)]
    spoken = [tuple(answer.tolist()) for puzzle in puzzles for _, answer in puzzle.questions]
    share = max(spoken.count(answer) for answer in set(spoken)) / len(spoken)
    assert KINDS[task].chance == {"associative": 1 / NUM_SYMBOLS, "copy": 1 / NUM_SYMBOLS, "word": 1 / len(THINGS)}.get(
        task, 1e-5
    )
    assert share < 2 * KINDS[task].chance + 0.01


def test_text_is_ascii_and_begins_again_where_it_ends():
    ids, _ = drawn("associative", length=5000, depth=1.0)
    text = text_of(ids[: 5000 - 24])
    assert text.isascii()
    assert text.count("and the morning were the first day.\n") > 80


def test_batches_are_of_one_length_and_depend_on_the_cursor_alone():
    config = RecallConfig(task="associative", keys=16, lengths=(32, 128))
    first, again = (RecallBatches(config, Sequences("associative", TOKENS, "the text"), 2, seed=5) for _ in range(2))
    read = [first.next() for _ in range(20)]
    again.cursor = 6
    assert all(torch.equal(a, b) for a, b in zip(read[6], again.next(), strict=True))
    assert {tuple(inputs.shape) for inputs, *_ in read} == {(8, 31), (4, 63), (2, 127)}
    for inputs, targets, answers, others in read:
        assert torch.equal(inputs[:, 1:], targets[:, :-1])
        assert torch.equal(torch.cat([answers, others]).sort().values, torch.arange(targets.numel()))
        counts = torch.bincount(answers // targets.shape[1], minlength=len(targets))
        assert counts.min() >= 1
        assert counts.max() <= min(16, targets.shape[1] // 4 + 1)
        assert torch.isin(targets.flatten()[answers], torch.from_numpy(VALUES)).all()


def test_what_cannot_be_is_refused():
    for values, problem in (
        ({"lengths": (200, 100)}, "give two numbers above 0, the smaller first"),
        ({"depths": (0.5, 1.5)}, "less than or equal to 1"),
        ({"eval_lengths": (0,)}, "greater than 0"),
        ({"eval_lengths": ()}, "at least 1 item"),
    ):
        with pytest.raises(SeqmemError, match=problem):
            validated(RecallConfig, {"task": "copy"} | values, "recall")
    with pytest.raises(SeqmemError, match="a sequence of 20 bytes has no room for a task of 24; raise recall"):
        drawn("associative", length=20)
    with pytest.raises(SeqmemError, match="the text has no text; give another split or folder"):
        Sequences("copy", TOKENS[:0], "the text")
    assert RecallConfig(task="passkey").keys == 1

"""Made questions: answers are where they say, facts are far apart, labels are balanced, a key is one example."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from seqmem.config import TaskConfig, TokenizerConfig
from seqmem.data.special_ids import SpecialIds
from seqmem.data.tasks import NAMES, THINGS, Example, Examples, TaskBatches
from seqmem.data.tokenizer import Tokenizer
from seqmem.errors import SeqmemError
from seqmem.schema import validated

TEXT = "the cat sat on the mat\nthe uncommonly long rat  sat\ton the hat\n" * 40
FACTS = "\n".join(f"{a} had the {b}.\nWhat had {a}? Is it good or evil?" for a in NAMES for b in THINGS)
TOKENIZER = Tokenizer.train([TEXT, FACTS, "bare witness: It is so\n"], TokenizerConfig(vocab_size=310))
TOKENS = TOKENIZER.encode_documents([TEXT, TEXT])
SPECIAL = SpecialIds.after(TOKENIZER.vocab_size)


def examples(kind: str, **values) -> Examples:
    return Examples(TaskConfig(kind=kind, **{"lengths": (200, 256)} | values), TOKENS, TOKENIZER, "the text")


def text_of(ids: np.ndarray) -> str:
    return TOKENIZER.decode(token for token in ids.tolist() if token < SPECIAL.pad)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(-9, 999))
def test_the_answer_is_where_it_says(seed):
    example = examples("question-answering").draw(seed)
    question, document = text_of(example.ids[: example.document]), text_of(example.ids[example.document :])
    name = question.removeprefix("What had ").removesuffix("?")
    first, last = example.target
    answer = text_of(example.ids[first : last + 1])
    assert answer.strip() in THINGS
    assert document.count(f"\n{name} had the{answer}.\n") == 1
    assert document.count(" had the ") == 4
    assert example.document <= first <= last < len(example.ids) - 1
    assert example.ids[0] == SPECIAL.cls
    assert example.ids[-1] == example.ids[example.num_asking] == SPECIAL.sep


def verdicts(example: Example) -> list[tuple[int, str]]:
    """Where a witness speaks, in characters, and what is said."""
    text = text_of(example.ids)
    return [(place, text[place + 7 : place + 11]) for place in range(len(text)) if text.startswith(" It is ", place)]


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(-9, 999))
def test_the_label_is_what_most_of_three_witnesses_far_apart_say(seed):
    example = examples("classification").draw(seed)
    places, said = zip(*verdicts(example), strict=True)
    assert sorted(said)[1] == ("evil" if example.target == (1,) else "good")
    assert min(np.diff(places, prepend=0)) > len(text_of(example.ids)) / 8
    assert example.num_asking == example.document == 1


def test_labels_and_verdicts_are_balanced():
    drawn = [examples("classification").draw(number) for number in range(400)]
    assert np.mean([example.target for example in drawn]) == pytest.approx(0.5, abs=0.08)
    for witness in range(3):
        said = [verdicts(example)[witness][1] for example in drawn]
        assert said.count("good") == pytest.approx(200, abs=30)


@pytest.mark.parametrize("kind", ["classification", "question-answering"])
def test_lengths_are_those_asked_for_and_a_key_is_one_example(kind):
    made = examples(kind, lengths=(200, 240))
    drawn = [made.draw(number) for number in range(60)]
    # Less by the ids that begin documents.
    assert all(199 <= len(example.ids) <= 240 for example in drawn)
    assert len({len(example.ids) for example in drawn}) > 15
    for number, example in enumerate(drawn):
        assert (examples(kind, lengths=(200, 240)).draw(number).ids == example.ids).all()
        assert not (example.ids == TOKENIZER.bos_id).any()


@pytest.mark.parametrize("kind", ["classification", "question-answering"])
def test_batches_are_padded_and_depend_on_the_cursor_alone(kind):
    first, again = (TaskBatches(examples(kind), 3, seed=5) for _ in range(2))
    read = [first.next() for _ in range(4)]
    again.cursor = 6
    assert all(torch.equal(a, b) for a, b in zip(read[2], again.next(), strict=True))
    for inputs, valid, asking, in_document, targets in read:
        assert (inputs[~valid] == SPECIAL.pad).all()
        assert not (asking & in_document).any()
        assert valid[asking | in_document].all()
        assert ((inputs < SPECIAL.pad) | ~in_document).all()
        assert kind == "classification" or in_document.gather(1, targets).all()


def test_what_leaves_no_room_is_refused():
    with pytest.raises(SeqmemError, match=r"lengths.*give two numbers above 0, the smaller first"):
        validated(TaskConfig, {"kind": "classification", "lengths": [200, 100]}, "task")
    with pytest.raises(SeqmemError, match=r"task\.lengths are \d+ or more too low for the facts of an example"):
        examples("classification", lengths=(20, 30)).draw(0)
    with pytest.raises(SeqmemError, match=r"the text has \d+ tokens, an example up to 9000; lower task\.lengths"):
        examples("classification", lengths=(100, 9000))

"""Questions about long documents, made from any text: facts are planted far apart, so that no window sees them all."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch

from seqmem.config import TaskConfig
from seqmem.data.padding import padded
from seqmem.data.shuffle import generator
from seqmem.data.special_ids import SpecialIds
from seqmem.data.text_vocabulary import TextVocabulary
from seqmem.data.vocabulary import TokenArray
from seqmem.errors import SeqmemError

NAMES = ("David", "Moses", "Aaron", "Joseph", "Saul", "Jacob")
THINGS = ("sword", "lamp", "ring", "staff", "crown", "harp", "robe", "scroll", "cup", "bow", "net", "seal")
VERDICTS = ("good", "evil")
NUM_WITNESSES, NUM_OWNERS = 3, 4
MIN_TEXT = 16  # tokens between facts

TaskBatch = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]
"""inputs, valid, asking and in_document ``[B, T]``, targets ``[B, k]``."""


@dataclass(frozen=True)
class Example:
    """A row that asks, and what is to be said.

    Attributes:
        ids: ``[n]``: CLS, perhaps a question and SEP, the document, SEP.
        num_asking: how many at the beginning ask: CLS and a question.
        document: where the document begins; it ends before the last SEP.
        target: the class, or the first and the last place of the answer.
    """

    ids: np.ndarray
    num_asking: int
    document: int
    target: tuple[int, ...]


class Haystack:
    """Text in which facts are hidden.

    Args:
        tokens: ``[N]`` ids of documents, each begun by BOS.
        name: what they are, for an error.
        longest: tokens of a document, at most.
    """

    def __init__(self, tokens: TokenArray, tokenizer: TextVocabulary, name: str, longest: int):
        if len(tokens) < longest:
            raise SeqmemError(f"{name} has {len(tokens)} tokens, an example up to {longest}; lower task.lengths")
        self.tokenizer = tokenizer
        self._tokens = tokens

    def plant(
        self, facts: Sequence[np.ndarray], length: int, random: np.random.Generator
    ) -> tuple[np.ndarray, list[int]]:
        """A piece of text of ``length`` tokens with ``facts``, in that order, and where each of them begins.

        Of K facts, each is before a word in a stretch of its own, 1 / 2 K of the text and as far from the one before
        or from the beginning.
        """
        size = length - sum(map(len, facts))
        if size < MIN_TEXT:
            raise SeqmemError(
                f"task.lengths are {MIN_TEXT - size} or more too low for the facts of an example; raise them"
            )
        start = int(random.integers(len(self._tokens) - size + 1))
        text = np.asarray(self._tokens[start : start + size], dtype=np.int64)
        text = text[text != self.tokenizer.bos_id]
        words = np.append(np.flatnonzero(self.tokenizer.begins_word(text)), len(text))
        stretch = len(text) / (2 * len(facts))
        drawn = (1 + 2 * np.arange(len(facts)) + random.random(len(facts))) * stretch
        places = words[np.searchsorted(words, drawn)]
        parts: list[np.ndarray] = []
        for fact, place, following in zip(facts, places, [*places[1:], len(text)], strict=True):
            parts += [fact, text[place:following]]
        begins = places + np.cumsum([0, *map(len, facts[:-1])])
        return np.concatenate([text[: places[0]], *parts]), begins.tolist()


class Maker(Protocol):
    """A kind of task."""

    def make(self, length: int, random: np.random.Generator) -> Example:
        """An example of about ``length`` tokens, less where the text begins documents."""


class Classification:
    """Three witnesses, far apart, two of whom agree or all: the class is what most of them say. CLS asks."""

    def __init__(self, haystack: Haystack):
        self._haystack = haystack
        self._special = SpecialIds.after(haystack.tokenizer.vocab_size)

    def make(self, length: int, random: np.random.Generator) -> Example:
        said = random.integers(2, size=NUM_WITNESSES)
        names = random.choice(NAMES, NUM_WITNESSES, replace=False)
        facts = [
            self._haystack.tokenizer.encode(f"\n{name} bare witness: It is {VERDICTS[which]}.\n").astype(np.int64)
            for name, which in zip(names, said, strict=True)
        ]
        document, _ = self._haystack.plant(facts, length - 2, random)
        ids = np.concatenate([[self._special.cls], document, [self._special.sep]])
        return Example(ids, 1, 1, (int(2 * said.sum() > NUM_WITNESSES),))


class QuestionAnswering:
    """Four people have something, far apart: what had one of them? CLS and the question ask, the answer is a span."""

    def __init__(self, haystack: Haystack):
        self._haystack = haystack
        self._special = SpecialIds.after(haystack.tokenizer.vocab_size)

    def make(self, length: int, random: np.random.Generator) -> Example:
        encode = self._haystack.tokenizer.encode
        names = random.choice(NAMES, NUM_OWNERS, replace=False)
        things = random.choice(THINGS, NUM_OWNERS, replace=False)
        asked = int(random.integers(NUM_OWNERS))
        had = [
            [encode(part) for part in (f"\n{name} had the", f" {thing}", ".\n")]
            for name, thing in zip(names, things, strict=True)
        ]
        question = encode(f"What had {names[asked]}?")
        head = np.concatenate([[self._special.cls], question, [self._special.sep]])
        facts = [np.concatenate(parts).astype(np.int64) for parts in had]
        document, begins = self._haystack.plant(facts, length - len(head) - 1, random)
        before, answer, _ = had[asked]
        first = len(head) + begins[asked] + len(before)
        ids = np.concatenate([head, document, [self._special.sep]])
        return Example(ids, len(head) - 1, len(head), (first, first + len(answer) - 1))


KINDS: dict[str, Callable[[Haystack], Maker]] = {
    "classification": Classification,
    "question-answering": QuestionAnswering,
}


class Examples:
    """Any number of examples: ``examples.draw(key)`` is determined by the settings, the text and the key.

    Args:
        tokens: ``[N]`` ids of documents, each begun by BOS.
        name: what they are, for an error.
    """

    def __init__(self, config: TaskConfig, tokens: TokenArray, tokenizer: TextVocabulary, name: str):
        self._lengths = config.lengths
        self._pad = SpecialIds.after(tokenizer.vocab_size).pad
        self._maker = KINDS[config.kind](Haystack(tokens, tokenizer, name, config.lengths[1]))

    def draw(self, *key: int) -> Example:
        """The example of a key."""
        random = generator(*key)
        shortest, longest = self._lengths
        return self._maker.make(int(random.integers(shortest, longest + 1)), random)

    def batch(self, examples: Sequence[Example]) -> TaskBatch:
        """Examples padded to the longest."""
        inputs, valid = padded([example.ids for example in examples], self._pad)
        place = torch.arange(inputs.shape[1])
        asking = place < torch.tensor([[example.num_asking] for example in examples])
        begins, ends = torch.tensor([[example.document, len(example.ids) - 1] for example in examples]).T[..., None]
        targets = torch.tensor([example.target for example in examples])
        return inputs, valid, asking, (place >= begins) & (place < ends), targets


class TaskBatches:
    """Endless training batches of new examples; ``cursor`` of them have been read."""

    period = 1

    def __init__(self, examples: Examples, batch_size: int, seed: int):
        self.cursor = 0
        self._examples = examples
        self._batch_size = batch_size
        self._seed = seed

    def next(self) -> TaskBatch:
        places = range(self.cursor, self.cursor + self._batch_size)
        self.cursor += self._batch_size
        return self._examples.batch([self._examples.draw(self._seed, place) for place in places])

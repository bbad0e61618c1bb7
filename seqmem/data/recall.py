"""Tasks of recall, made from any text: facts stand somewhere in a long text, and what is asked about them at its end.

Everything is bytes. Text keeps to ASCII, so that the upper half is free for symbols: keys, values and a mark.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from seqmem.config import RecallConfig
from seqmem.data.shuffle import generator
from seqmem.data.vocabulary import TokenArray
from seqmem.errors import SeqmemError

NUM_ASCII, NUM_SYMBOLS = 128, 64
KEYS = np.arange(NUM_ASCII, NUM_ASCII + NUM_SYMBOLS)
VALUES = KEYS + NUM_SYMBOLS
MARK = KEYS[:1]
NUM_DIGITS = 5
NAMES = (
    "Aaron Abel Abner Adam Amos Asher Boaz Caleb Daniel David Eli Esau Esther Ezra Hannah Isaac "
    "Jacob Job Joel Jonah Joseph Leah Levi Lot Miriam Moses Naomi Noah Rachel Ruth Samuel Sarah"
).split()
THINGS = "sword lamp ring staff crown harp robe scroll cup bow net seal plough tent shield basket".split()

RecallBatch = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
"""inputs and targets ``[B, T]``, which targets are of an answer ``[B, T]`` bool."""


@dataclass(frozen=True)
class Puzzle:
    """What is to be kept in mind, and what is asked.

    Args:
        facts: bytes; the questions are about the first, which stands at the depth that is measured, the others anywhere.
        questions: what is read and what is then to be said, in order.
    """

    facts: Sequence[np.ndarray]
    questions: Sequence[tuple[np.ndarray, np.ndarray]]

    @property
    def size(self) -> int:
        """Bytes of all."""
        return sum(map(len, self.facts)) + sum(len(prompt) + len(answer) for prompt, answer in self.questions)


@dataclass(frozen=True)
class Kind:
    """A kind of task.

    Args:
        make: a puzzle of so many keys.
        most: keys that it can have.
        chance: of answering right without having read the facts.
    """

    make: Callable[[int, np.random.Generator], Puzzle]
    most: int
    chance: float


def _ascii(text: str) -> np.ndarray:
    return np.frombuffer(text.encode("ascii"), dtype=np.uint8).astype(np.int64)


def _number(random: np.random.Generator) -> str:
    return "".join(map(str, random.integers(10, size=NUM_DIGITS)))


def passkey(num_keys: int, random: np.random.Generator) -> Puzzle:
    """A number in words that are always the same (Mohtashami and Jaggi 2023)."""
    number = _number(random)
    fact = _ascii(f"\nThe pass key is {number}. Remember it. {number} is the pass key.\n")
    return Puzzle([fact], [(_ascii("\nWhat is the pass key? The pass key is "), _ascii(number))])


def _needles(said: str, asked: str, num_keys: int, random: np.random.Generator, things: Sequence[str]) -> Puzzle:
    """As many people as there are keys, each with a thing; one of them is asked about."""
    names = random.choice(NAMES, num_keys, replace=False)
    facts = [_ascii(said.format(name, thing)) for name, thing in zip(names, things, strict=True)]
    return Puzzle(facts, [(_ascii(asked.format(names[0])), _ascii(things[0]))])


def number(num_keys: int, random: np.random.Generator) -> Puzzle:
    """Everyone has a number."""
    numbers = [_number(random) for _ in range(num_keys)]
    return _needles("\nThe number of {} is {}.\n", "\nThe number of {} is ", num_keys, random, numbers)


def word(num_keys: int, random: np.random.Generator) -> Puzzle:
    """Everyone has a thing."""
    things = [str(thing) for thing in random.choice(THINGS, num_keys)]
    return _needles("\n{} had the {}.\n", "\nWhat had {}? The ", num_keys, random, things)


def associative(num_keys: int, random: np.random.Generator) -> Puzzle:
    """Keys and their values, side by side; every key is asked for once (Arora et al. 2023, arXiv 2312.04927)."""
    keys, values = random.choice(KEYS, num_keys, replace=False), random.choice(VALUES, num_keys)
    order = random.permutation(num_keys)
    questions = [(keys[i : i + 1], values[i : i + 1]) for i in order]
    return Puzzle([np.stack([keys, values], 1).ravel()], questions)


def copy(num_keys: int, random: np.random.Generator) -> Puzzle:
    """Symbols after a mark, to be repeated when it comes again; each of them is an answer."""
    symbols = random.choice(VALUES, num_keys)
    prompts = [MARK] + [MARK[:0]] * (num_keys - 1)
    answers = np.split(symbols, num_keys)
    return Puzzle([np.concatenate([MARK, symbols])], list(zip(prompts, answers, strict=True)))


KINDS = {
    "passkey": Kind(passkey, 1, 10.0**-NUM_DIGITS),
    "number": Kind(number, len(NAMES), 10.0**-NUM_DIGITS),
    "word": Kind(word, len(NAMES), 1 / len(THINGS)),
    "associative": Kind(associative, NUM_SYMBOLS, 1 / NUM_SYMBOLS),
    "copy": Kind(copy, 1024, 1 / NUM_SYMBOLS),
}


class Sequences:
    """Any number of sequences that ask at their end.

    Args:
        tokens: ``[N]`` bytes of the text between facts and questions; where it ends it begins again.
        name: what they are, for an error.

    Raises:
        SeqmemError: there is no text.
    """

    def __init__(self, task: str, tokens: TokenArray, name: str):
        if not len(tokens):
            raise SeqmemError(f"{name} has no text; give another split or folder")
        self._make = KINDS[task].make
        self._tokens = tokens

    def draw(self, num_keys: int, length: int, depth: float, number: int) -> tuple[np.ndarray, np.ndarray]:
        """The sequence of a number, as :meth:`lay_out` has it."""
        random = generator(number)
        return self.lay_out(self._make(num_keys, random), length, depth, random)

    def draw_any(self, most_keys: int, length: int, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """A sequence whose keys, as many as drawn or half as many until they fit, are at any depth."""
        num_keys = int(random.integers(most_keys)) + 1
        while (puzzle := self._make(num_keys, random)).size > length and num_keys > 1:
            num_keys //= 2
        return self.lay_out(puzzle, length, random.random(), random)

    def lay_out(
        self, puzzle: Puzzle, length: int, depth: float, random: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Bytes ``[length]``, and for each the number of the answer it belongs to or -1.

        Args:
            depth: where the first fact begins: 0 at the beginning, 1 right before the questions.

        Raises:
            SeqmemError: the puzzle is too long.
        """
        size = length - puzzle.size
        if size < 0:
            raise SeqmemError(
                f"a sequence of {length} bytes has no room for a task of {puzzle.size}; raise it or lower recall.keys"
            )
        text = self._text(size, random)
        places = (np.array([depth, *random.random(len(puzzle.facts) - 1)]) * size).round().astype(int)
        order = np.argsort(places, kind="stable")
        pieces = np.split(text, places[order])
        parts = [pieces[0]]
        for fact, piece in zip(order, pieces[1:], strict=True):
            parts += [puzzle.facts[fact], piece]
        asked = [part for question in puzzle.questions for part in question]
        numbers = [np.full(len(part), index // 2 if index % 2 else -1) for index, part in enumerate(asked)]
        before = np.full(length - sum(map(len, asked)), -1)
        return np.concatenate([*parts, *asked]), np.concatenate([before, *numbers])

    def _text(self, size: int, random: np.random.Generator) -> np.ndarray:
        """A piece of text; what is not ASCII becomes a space."""
        start = int(random.integers(len(self._tokens)))
        parts = []
        while size > 0:
            parts.append(np.asarray(self._tokens[start : start + size], dtype=np.int64))
            size -= len(parts[-1])
            start = 0
        text = np.concatenate(parts or [np.empty(0, np.int64)])
        return np.where(text < NUM_ASCII, text, ord(" "))


class RecallBatches:
    """Endless training batches, each of one length; ``cursor`` of them have been read.

    Lengths are the longest, its half, and so on down to the shortest; each is as likely. A batch has as many bytes as
    ``batch_size`` of the longest. Since fewer keys fit into what is short, what is easy is learnt first without any plan.
    """

    def __init__(self, config: RecallConfig, sequences: Sequences, batch_size: int, seed: int):
        self.cursor = 0
        self._config = config
        self._sequences = sequences
        self._batch_size = batch_size
        self._seed = seed

    def next(self) -> RecallBatch:
        random = generator(self._seed, self.cursor)
        self.cursor += 1
        shortest, longest = self._config.lengths
        length = longest >> int(random.integers((longest // shortest).bit_length()))
        drawn = [
            self._sequences.draw_any(self._config.keys, length, random)
            for _ in range(self._batch_size * longest // length)
        ]
        ids, numbers = (torch.from_numpy(np.stack(part)) for part in zip(*drawn, strict=True))
        return ids[:, :-1], ids[:, 1:], numbers[:, 1:] >= 0

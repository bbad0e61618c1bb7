"""Tasks of recall, as puzzles: facts to keep in mind, and questions about them.

Everything is bytes. Text keeps to ASCII, so that the upper half is free for symbols: keys, values and a mark.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

NUM_ASCII, NUM_SYMBOLS = 128, 64
KEYS = np.arange(NUM_ASCII, NUM_ASCII + NUM_SYMBOLS)
VALUES = KEYS + NUM_SYMBOLS
MARK = KEYS[:1]
NUM_DIGITS = 5
# fmt: off
NAMES = (
    "Aaron", "Abel", "Abner", "Adam", "Amos", "Asher", "Boaz", "Caleb", "Daniel", "David", "Eli", "Esau",
    "Esther", "Ezra", "Hannah", "Isaac", "Jacob", "Job", "Joel", "Jonah", "Joseph", "Leah", "Levi", "Lot",
    "Miriam", "Moses", "Naomi", "Noah", "Rachel", "Ruth", "Samuel", "Sarah",
)
THINGS = (
    "sword", "lamp", "ring", "staff", "crown", "harp", "robe", "scroll", "cup", "bow", "net", "seal", "plough",
    "tent", "shield", "basket",
)
# fmt: on


@dataclass(frozen=True)
class Puzzle:
    """What is to be kept in mind, and what is asked.

    Args:
        facts: bytes; the questions are about the first, whose place is chosen, the others stand anywhere.
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
        most: keys that it can have; None for any number.
        chance: of answering right without having read the facts.
    """

    make: Callable[[int, np.random.Generator], Puzzle]
    most: int | None
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
    "copy": Kind(copy, None, 1 / NUM_SYMBOLS),
}

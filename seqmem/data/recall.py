"""Puzzles in long texts: facts somewhere, what is asked about them at the end."""

import numpy as np
import torch

from seqmem.config import RecallConfig
from seqmem.data.puzzles import KINDS, NUM_ASCII, Puzzle
from seqmem.data.shuffle import generator
from seqmem.data.vocabulary import TokenArray
from seqmem.errors import SeqmemError

RecallBatch = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]
"""inputs and targets ``[B, T]``; places of targets, of answers ``[N]`` and others ``[M]``, rows end to end."""


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
                f"a sequence of {length} bytes has no room for a task of {puzzle.size}; raise recall.lengths and "
                "recall.eval_lengths or lower recall.keys"
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
    ``batch_size`` of the longest. Fewer keys fit into what is short, so that what is easy is learnt first.
    """

    period = 1

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
        is_answer = numbers[:, 1:].flatten() >= 0
        return ids[:, :-1], ids[:, 1:], is_answer.nonzero()[:, 0], (~is_answer).nonzero()[:, 0]

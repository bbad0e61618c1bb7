"""Masked tokens (Devlin et al. 2019, section 3.1): which are hidden, and what stands in their place."""

from collections.abc import Sequence

import numpy as np
import torch

from seqmem.config import MaskingConfig
from seqmem.data.padding import padded
from seqmem.data.segments import Segments
from seqmem.data.shuffle import Shuffle, generator
from seqmem.data.special_ids import SpecialIds
from seqmem.data.text_vocabulary import TextVocabulary

MASKED, REPLACED = 0.8, 0.1
"""Of the picked tokens, how many become the mask and how many another token; the rest stay as they are."""

MaskedBatch = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]
"""inputs ``[B, T]``, valid ``[B, T]``, and of the N picked tokens the places in ``B * T`` and the targets, ``[N]``."""


class Masking:
    """Turns texts into batches: a row is CLS, the text with tokens hidden, SEP.

    A token, or with ``whole_words`` a word, is picked with ``probability``, independently; of a text in which chance
    picks none, one is.
    """

    def __init__(self, config: MaskingConfig, tokenizer: TextVocabulary):
        self._config = config
        self._tokenizer = tokenizer
        self._special = SpecialIds.after(tokenizer.vocab_size)
        self._text_ids = np.flatnonzero(tokenizer.num_bytes)

    def pick(self, ids: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """Which of ``ids [n]`` the model is to tell: ``[n]`` bool."""
        begins = self._tokenizer.begins_word(ids) if self._config.whole_words else np.ones(len(ids), dtype=bool)
        word = np.cumsum(begins) - 1
        chance = random.random(word[-1] + 1)
        return (chance < max(self._config.probability, np.nextafter(chance.min(), 1)))[word]

    def hide(self, ids: np.ndarray, picked: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """``ids [n]`` with what stands in the place of the picked ones."""
        fate = random.random(len(ids))
        others = random.choice(self._text_ids, len(ids))
        hidden = np.where(fate < MASKED, self._special.mask, np.where(fate < MASKED + REPLACED, others, ids))
        return np.where(picked, hidden, ids)

    def batch(self, texts: Sequence[np.ndarray], random: Sequence[np.random.Generator]) -> MaskedBatch:
        """Texts, each masked by random numbers of its own, padded to the longest."""
        edge = np.zeros(1, dtype=bool)
        rows, picks = [], []
        for ids, numbers in zip(texts, random, strict=True):
            picked = self.pick(ids, numbers)
            rows.append(np.concatenate([[self._special.cls], self.hide(ids, picked, numbers), [self._special.sep]]))
            picks.append(np.concatenate([edge, picked, edge]))
        inputs, valid = padded(rows, self._special.pad)
        places = torch.zeros_like(valid).masked_scatter(valid, torch.from_numpy(np.concatenate(picks)))
        targets = np.concatenate([ids[picked[1:-1]] for ids, picked in zip(texts, picks, strict=True)])
        return inputs, valid, places.flatten().nonzero()[:, 0], torch.from_numpy(targets)


class MaskedBatches:
    """Endless training batches of masked segments, shuffled; ``cursor`` segments have been read."""

    period = 1

    def __init__(self, segments: Segments, masking: Masking, batch_size: int, seed: int):
        self.cursor = 0
        self._segments = segments
        self._masking = masking
        self._batch_size = batch_size
        self._seed = seed
        self._order = Shuffle(len(segments), seed)

    def next(self) -> MaskedBatch:
        places = range(self.cursor, self.cursor + self._batch_size)
        self.cursor += self._batch_size
        texts = [self._segments[self._order[place]] for place in places]
        return self._masking.batch(texts, [generator(self._seed, place) for place in places])

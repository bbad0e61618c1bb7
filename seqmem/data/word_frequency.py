"""Words among tokens: how often each occurs in a text, and by that, which class the words of another are of.

A word is what :meth:`TextVocabulary.begins_word` begins, up to the next, without white space around it.
"""

from collections import Counter
from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from seqmem.data.documents import Documents
from seqmem.data.text_vocabulary import TextVocabulary
from seqmem.data.vocabulary import TokenArray

CLASSES = ("over 10,000", "1,001 to 10,000", "101 to 1,000", "11 to 100", "1 to 10", "never", "white space")
"""By how often a word occurs; the last is of tokens that are no word."""

EXCEEDED = (10_000, 1_000, 100, 10, 0)
LONGEST = 64
"""Tokens of a word, at most; a longer one is cut."""
CHUNK = 1 << 16


class WordCounts:
    """How often words occur in a text.

    Args:
        documents: the text.
        tokenizer: gave its tokens.
        limit: tokens that are looked at, at most.
    """

    def __init__(self, documents: Documents, tokenizer: TextVocabulary, limit: int = 10_000_000):
        self._spelling = [tokenizer.decode_bytes([index]) for index in range(tokenizer.vocab_size)]
        self._tokenizer = tokenizer
        self.num_tokens = min(limit, len(documents.tokens))
        self._counts: Counter[bytes] = Counter()
        for part, count in Counter(self._parts(documents.tokens)).items():
            self._counts[self._spelled(np.frombuffer(part, np.int64))] += count

    def _parts(self, tokens: TokenArray) -> Iterator[bytes]:
        """The ids of each word among those looked at, as int64 in memory."""
        start, size = 0, np.dtype(np.int64).itemsize
        while start < self.num_tokens:
            ids = tokens[start : min(start + CHUNK, self.num_tokens)].astype(np.int64)
            borders = [*np.flatnonzero(self.begins(ids)).tolist(), len(ids)]
            if start + len(ids) < self.num_tokens and len(borders) > 2:
                borders.pop()  # the last word goes on in the next chunk
            content = ids.tobytes()
            yield from (content[begin * size : end * size] for begin, end in pairwise(borders))
            start += borders[-1]

    def begins(self, ids: np.ndarray) -> np.ndarray:
        """Which of ``ids [N]`` begin a word, or a document."""
        is_bos = ids == self._tokenizer.bos_id
        return self._tokenizer.begins_word(ids) | is_bos | np.concatenate([[False], is_bos[:-1]])

    def classes(self, ids: np.ndarray) -> np.ndarray:
        """The class of the word that each of ``ids [N]`` belongs to, as a place in :data:`CLASSES`."""
        begins = np.flatnonzero(self.begins(ids))
        of_words = [self._class(ids[begin:end]) for begin, end in pairwise([*begins.tolist(), len(ids)])]
        return np.repeat(np.array(of_words, dtype=np.int64), np.diff(begins, append=len(ids)))

    def _class(self, ids: np.ndarray) -> int:
        word = self._spelled(ids)
        if not word:
            return len(CLASSES) - 1
        count = self._counts[word]
        return next((index for index, least in enumerate(EXCEEDED) if count > least), len(EXCEEDED))

    def _spelled(self, ids: np.ndarray) -> bytes:
        return b"".join([self._spelling[index] for index in ids.tolist()]).strip()

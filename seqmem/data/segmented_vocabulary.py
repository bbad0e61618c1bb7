"""Tokenizers that cut a text in segments and encode each by itself, the same segment only once."""

import re
from abc import abstractmethod
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike

from seqmem.data.text_vocabulary import TextVocabulary, utf8

MAX_REMEMBERED = 1 << 21
"""Characters of segments whose ids are remembered, about: tens of megabytes."""


class SegmentedVocabulary(TextVocabulary):
    """The ids of a text are those of its segments laid end to end, whatever stands around them.

    So texts may be cut where segments begin, and their parts encoded one after the other: the ids stay the same.

    Args:
        spellings, bos_id: as of :class:`TextVocabulary`.
        segment: a regular expression whose matches partition any text.
    """

    def __init__(self, spellings: Sequence[bytes], bos_id: int, segment: str):
        super().__init__(spellings, bos_id)
        self._dtype = np.uint16 if self.vocab_size <= 1 << 16 else np.int32
        self._segments = re.compile(segment).findall
        self._ids = _Memo(lambda text: np.asarray(self.encode_segment(text), self._dtype).tobytes())

    @abstractmethod
    def encode_segment(self, text: str) -> ArrayLike:
        """Token ids of one segment."""

    def encode(self, text: str) -> np.ndarray:
        utf8(text)
        return np.frombuffer(b"".join(map(self._ids.__getitem__, self._segments(text))), self._dtype)


class _Memo(dict[str, bytes]):
    """What ``encode`` gives for each segment; begun anew when there is too much."""

    def __init__(self, encode: Callable[[str], bytes]):
        super().__init__()
        self._encode = encode
        self._num_characters = 0

    def __missing__(self, segment: str) -> bytes:
        if self._num_characters > MAX_REMEMBERED:
            self.clear()
            self._num_characters = 0
        self._num_characters += len(segment)
        ids = self[segment] = self._encode(segment)
        return ids

"""Characters or words as tokens: those that are frequent have an id, the others are spelled in bytes."""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from seqmem.config import TokenizerConfig
from seqmem.data import byte_tokenizer
from seqmem.data.segmented_vocabulary import SegmentedVocabulary
from seqmem.data.text_vocabulary import utf8
from seqmem.errors import SeqmemError

FILE_NAME = "table.json"
SEGMENTS = {
    "characters": r"(?s:.)",
    # Letters and digits, with apostrophes among them, or other signs, after a space or not; or one space of any kind.
    "words": r" ?[^\W_]+(?:['\u2019][^\W_]+)*| ?(?:[^\w\s]|_)+|\s",
}
LONGEST = 64
"""Characters of a segment that has an id."""
SURROGATES = re.compile("[\ud800-\udfff]")


class TableTokenizer(SegmentedVocabulary):
    """Ids 0 ... 255 are bytes, 256 is BOS, and each of the others is a character or a word, the most frequent first.

    What has no id of its own is spelled in bytes: no likelihood is hidden in an unknown word.

    Args:
        kind: what a segment is, a key of :data:`SEGMENTS`.
        table: the segments that have ids.
    """

    def __init__(self, kind: str, table: Sequence[str]):
        super().__init__(
            [*byte_tokenizer.SPELLINGS, *(segment.encode() for segment in table)],
            byte_tokenizer.BOS_ID,
            SEGMENTS[kind],
        )
        self._table = {segment: [index] for index, segment in enumerate(table, len(byte_tokenizer.SPELLINGS))}
        self._kind = kind
        self._content = json.dumps({"kind": kind, "table": table}, indent=0).encode()
        self.hash = hashlib.sha256(self._content).hexdigest()[:16]

    @classmethod
    def train(cls, texts: Iterable[str], config: TokenizerConfig) -> "TableTokenizer":
        """The most frequent segments of ``texts``, as many as there are up to ``config.vocab_size`` ids in all.

        Of equally frequent ones, those with the lower characters come first.
        """
        segments = re.compile(SEGMENTS[config.kind]).findall
        counts = Counter(segment for text in texts for segment in segments(text))
        table = sorted(filter(_needs_an_id, counts), key=lambda segment: (-counts[segment], segment))
        return cls(config.kind, table[: config.vocab_size - len(byte_tokenizer.SPELLINGS)])

    def encode_segment(self, text: str) -> ArrayLike:
        return self._table.get(text) or np.frombuffer(utf8(text), np.uint8)

    def describe(self) -> str:
        return f"{self._kind}, {self.vocab_size:,} ids with bytes and BOS, {self.hash}"

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / FILE_NAME).write_bytes(self._content)

    @classmethod
    def load(cls, folder: Path) -> "TableTokenizer":
        """Read what :meth:`save` wrote.

        Raises:
            SeqmemError: it cannot be read.
        """
        path = folder / FILE_NAME
        try:
            values = json.loads(path.read_bytes())
            return cls(values["kind"], values["table"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            raise SeqmemError(f"{path}: not a table of tokens; restore the file from another checkpoint") from None


def _needs_an_id(segment: str) -> bool:
    """Whether it is more than a byte, and neither noise nor so long that it hardly comes again."""
    is_a_byte = len(segment) == 1 and segment.isascii()
    return not is_a_byte and len(segment) <= LONGEST and not SURROGATES.search(segment)

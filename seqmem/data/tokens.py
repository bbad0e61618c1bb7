"""A corpus as token arrays, one a split, found again from the run folder so that a resumed run sees the same tokens."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

import numpy as np

from seqmem.config import DataConfig
from seqmem.data.atomic import atomic_folder
from seqmem.data.audio_tokens import AudioCorpus
from seqmem.data.byte_tokenizer import ByteTokenizer
from seqmem.data.codec import Codec
from seqmem.data.corpus import SPLITS, Corpus, load_corpus
from seqmem.data.sounds import load_sounds
from seqmem.data.text_vocabulary import TextVocabulary
from seqmem.data.vocabulary import Vocabulary


@dataclass(frozen=True)
class TokenizedCorpus:
    """Token ids ``[N]`` by split, every document begun by BOS; name and note are the corpus's.

    BOS is known by its id, so that nobody need say where documents start.
    """

    name: str
    note: str
    splits: dict[str, np.ndarray]
    starts: ClassVar[dict[str, np.ndarray]] = {}

    @classmethod
    def build(cls, corpus: Corpus, tokenizer: TextVocabulary) -> Self:
        """Encode every split."""
        splits = {
            split: tokenizer.encode_documents(document.text for document in documents)
            for split, documents in corpus.splits.items()
        }
        return cls(corpus.name, corpus.note, splits)

    def save(self, folder: Path) -> None:
        """Write ``folder``, replacing one that is there."""
        with atomic_folder(folder) as partial:
            (partial / "corpus.json").write_text(json.dumps({"name": self.name, "note": self.note}, indent=2))
            for split, tokens in self.splits.items():
                np.save(partial / f"{split}.npy", tokens)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Map what :meth:`save` wrote into memory."""
        about = json.loads((folder / "corpus.json").read_text())
        splits = {split: np.load(folder / f"{split}.npy", mmap_mode="r") for split in SPLITS}
        return cls(about["name"], about["note"], splits)


Tokens = TokenizedCorpus | AudioCorpus
"""What a run trains on and is measured on."""


def read_tokens(data: DataConfig, vocabulary: Vocabulary) -> Tokens:
    """The text or the sounds that ``data`` names, as tokens of ``vocabulary``.

    Raises:
        SeqmemError: the data is missing or unusable.
    """
    if isinstance(vocabulary, Codec):
        return AudioCorpus.build(load_sounds(data, vocabulary.sample_rate), vocabulary)
    assert isinstance(vocabulary, TextVocabulary)
    return TokenizedCorpus.build(load_corpus(data, isinstance(vocabulary, ByteTokenizer)), vocabulary)


def saved_tokens(folder: Path, vocabulary: Vocabulary, data: DataConfig) -> Tokens:
    """What was saved in ``folder``, once read from ``data``."""
    if isinstance(vocabulary, Codec):
        return AudioCorpus.load(folder, vocabulary, data)
    return TokenizedCorpus.load(folder)

"""A corpus as token arrays, one a split, kept in the run folder so that a resumed run sees the same tokens."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np

from seqmem.data.atomic import atomic_folder
from seqmem.data.corpus import SPLITS, Corpus
from seqmem.data.tokenizer import Tokenizer


@dataclass(frozen=True)
class TokenizedCorpus:
    """Token ids ``[N]`` by split, every document begun by BOS; name and note are the corpus's."""

    name: str
    note: str
    splits: dict[str, np.ndarray]

    @classmethod
    def build(cls, corpus: Corpus, tokenizer: Tokenizer) -> Self:
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

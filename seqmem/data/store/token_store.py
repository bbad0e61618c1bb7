"""A store of tokens: the documents of three splits, laid end to end, in shards that are mapped into memory.

A store is a folder: shards (:mod:`seqmem.data.store.shard`), the tokenizer, and ``store.json``, which comes last.
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np

from seqmem.data.atomic import atomic_folder
from seqmem.data.corpus import SPLITS
from seqmem.data.store.shard import Shard
from seqmem.data.store.sharded import ShardedTokens
from seqmem.errors import SeqmemError

FILE_NAME = "store.json"
FORMAT = 1


@dataclass(frozen=True)
class TokenStore:
    """Texts as token ids.

    Attributes:
        name, note: the corpus's.
        identity: of the corpus.
        tokenizer: hash of the tokenizer that gave the ids.
        dtype: of the ids, for NumPy.
        shards: by split.
    """

    folder: Path
    name: str
    note: str
    identity: str
    tokenizer: str
    dtype: str
    shards: dict[str, list[Shard]]

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Map a store into memory.

        Raises:
            SeqmemError: there is none, it is another version's, or a file of it is not what was written.
        """
        try:
            about: dict[str, Any] = json.loads((folder / FILE_NAME).read_text(encoding="utf-8"))
            if about.pop("format") != FORMAT:
                raise SeqmemError(f"{folder}: this store of tokens is another version's; remove it")
            shards = {split: [Shard.from_json(shard) for shard in about["shards"][split]] for split in SPLITS}
            store = cls(**about | {"folder": folder, "shards": shards})
        except OSError as error:
            raise SeqmemError(f"{folder}: no store of tokens ({error.strerror}); name another folder") from None
        except (ValueError, KeyError, TypeError, AttributeError):
            raise SeqmemError(f"{folder}: {FILE_NAME} of this store of tokens is damaged; remove the store") from None
        for some in shards.values():
            for shard in some:
                if file := shard.problem(folder):
                    raise SeqmemError(f"{folder}: {file} of this store of tokens is damaged; remove the store")
        return store

    def write(self) -> None:
        """Write ``store.json``."""
        about = {"format": FORMAT, **asdict(self)}
        del about["folder"]
        (self.folder / FILE_NAME).write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")

    @cached_property
    def splits(self) -> dict[str, ShardedTokens]:
        """Token ids by split, every document begun by BOS."""
        return {
            split: ShardedTokens([self._mapped(shard) for shard in shards], np.dtype(self.dtype))
            for split, shards in self.shards.items()
        }

    @cached_property
    def digest(self) -> str:
        """16 hex digits; equal ones mean equal tokens of equal documents."""
        ends = [shards[-1].digest if shards else "" for shards in map(self.shards.__getitem__, SPLITS)]
        return hashlib.sha256(json.dumps([self.tokenizer, *ends]).encode()).hexdigest()[:16]

    def total(self, split: str, what: str) -> int:
        """The sum of a count, such as ``num_bytes``, over the shards of a split."""
        return sum(getattr(shard, what) for shard in self.shards[split])

    def tokens_per_unit(self, split: str) -> float:
        """Tokens for each byte of the text."""
        return self.total(split, "num_tokens") / max(1, self.total(split, "num_bytes"))

    def document_starts(self, split: str) -> np.ndarray:
        """The places of every document's BOS, sorted: ``[documents]`` int64."""
        begins = np.cumsum([0, *(shard.num_tokens for shard in self.shards[split])])
        parts = [
            np.fromfile(self.folder / f"{shard.name}.starts", "<i8") + begin
            for shard, begin in zip(self.shards[split], begins, strict=False)
        ]
        return np.concatenate([np.empty(0, np.int64), *parts])

    def document_at(self, split: str, place: int) -> str:
        """The name of the document that the token at ``place`` is of."""
        index = int(np.searchsorted(self.document_starts(split), place, side="right")) - 1
        for shard in self.shards[split]:
            if index < shard.num_documents:
                return (self.folder / f"{shard.name}.names").read_text(encoding="utf-8").split("\n")[index]
            index -= shard.num_documents
        raise IndexError(place)

    def save(self, folder: Path) -> None:
        """Write into ``folder`` where the store is, replacing what is there."""
        with atomic_folder(folder) as partial:
            about = {"store": str(self.folder.absolute()), "digest": self.digest, "note": self.note}
            (partial / FILE_NAME).write_text(json.dumps(about, indent=2) + "\n")

    def _mapped(self, shard: Shard) -> np.ndarray:
        if not shard.num_tokens:
            return np.empty(0, self.dtype)
        return np.memmap(self.folder / f"{shard.name}.tokens", np.dtype(self.dtype).newbyteorder("<"), "r")

"""The sections of a recipe about what is read."""

import os
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationInfo, field_validator

from seqmem.errors import SeqmemError
from seqmem.schema import Section

BYTE_VOCAB_SIZE = 257
MIN_PIECES = 260

Location = Path | str
"""A path here, or the URL of a file system that fsspec knows."""


def is_url(text: object) -> bool:
    """Whether ``text`` names a file system other than this machine's."""
    return isinstance(text, str) and "://" in text


class DataConfig(Section):
    """Which text or sounds: the files in ``path`` where it is given, else a corpus that comes with the installation.

    ``path`` is a folder or a single file, here or at a URL; with tokenizer.kind = "bytes" the file may hold anything.
    Of FASTA, JSON Lines and Parquet, every record is a document.

    ``kjv`` is text; ``plucked-strings`` and ``sine`` are sounds, made when they are asked for. A recipe that comes
    without its data says in ``download`` where that is to be had.
    """

    corpus: Literal["kjv", "plucked-strings", "sine"] = "kjv"
    path: Location | None = None
    download: str = ""

    @property
    def name(self) -> str:
        """Of the files or the corpus."""
        return str(self.path).rstrip("/").rsplit("/", 1)[-1] if self.path else self.corpus

    def check_is_there(self) -> None:
        """Refuse a recipe that brings no data and was given none.

        Raises:
            SeqmemError: says where to get it.
        """
        if self.download and not self.path:
            raise SeqmemError(f"this recipe brings no data: download {self.download}, then give --data PATH")

    @field_validator("path")
    @classmethod
    def _absolute(cls, path: Location | None) -> Location | None:
        """A run goes on, and is evaluated, from any folder."""
        return path if path is None or is_url(path) else Path(os.path.abspath(Path(path).expanduser()))


class TokenizerConfig(Section):
    """How text becomes tokens.

    ``unigram`` and ``bpe`` are SentencePiece models that the recipe trains on its training split. ``characters`` and
    ``words`` are the most frequent ones there, up to ``vocab_size`` with the bytes that spell all others. With
    ``bytes``, every byte is a token, and one more begins documents: ``vocab_size`` is 257 whatever it says.
    """

    kind: Literal["unigram", "bpe", "characters", "words", "bytes"] = "unigram"
    vocab_size: int = Field(4096, validate_default=True)

    @field_validator("vocab_size")
    @classmethod
    def _of_its_kind(cls, vocab_size: int, info: ValidationInfo) -> int:
        if info.data.get("kind") == "bytes":
            return BYTE_VOCAB_SIZE
        if vocab_size <= MIN_PIECES:
            raise ValueError(f"give more than {MIN_PIECES}: every byte is a piece, too")
        return vocab_size


class CodecConfig(Section):
    """How a waveform becomes tokens.

    ``mu-law`` and ``linear`` have a token a sample and ``levels`` of them; ``two-byte`` writes 16 bits as a coarse and
    a fine token; ``logistic-mixture`` has a token a sample and 65,536 levels, whose distribution is a mixture of
    logistics.
    """

    kind: Literal["mu-law", "linear", "two-byte", "logistic-mixture"] = "mu-law"
    levels: int = Field(256, ge=2, le=1 << 16, description="of mu-law and linear")
    sample_rate: int = Field(16000, ge=1000, le=192000, description="samples a second; files are resampled to it")

    @property
    def tokens_a_sample(self) -> int:
        """2 for two-byte, else 1."""
        return 2 if self.kind == "two-byte" else 1

    @property
    def vocab_size(self) -> int:
        """Ids that tokens have; those of the two bytes of a sample differ."""
        return {"two-byte": 512, "logistic-mixture": 1 << 16}.get(self.kind, self.levels)

    @property
    def model_settings(self) -> dict[str, Any]:
        """What a model must be told about its tokens."""
        settings: dict[str, Any] = {"vocab_size": self.vocab_size}
        if self.kind == "logistic-mixture":
            settings["head"] = self.kind
        if self.tokens_a_sample > 1:
            settings["num_phases"] = self.tokens_a_sample
        return settings

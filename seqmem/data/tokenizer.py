"""SentencePiece tokenizers that give back every text exactly."""

import hashlib
import io
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import sentencepiece

from seqmem.config import TokenizerConfig
from seqmem.data.text_vocabulary import TextVocabulary
from seqmem.errors import SeqmemError

FILE_NAME = "tokenizer.model"
MAX_CHARACTERS = 10_000_000  # more text teaches a tokenizer nothing and takes minutes
SPACE = "▁"  # SentencePiece writes a space as U+2581


class Tokenizer(TextVocabulary):
    """Text <-> token ids, losslessly: what has no piece of its own is spelled in bytes.

    Attributes:
        hash: 16 hex digits of the model's SHA-256.
    """

    def __init__(self, model: bytes):
        self._model = model
        self._processor = sentencepiece.SentencePieceProcessor(model_proto=model)
        self.vocab_size: int = self._processor.get_piece_size()
        self.bos_id: int = self._processor.bos_id()
        self.bos_ids = (self.bos_id,)
        self.hash = hashlib.sha256(model).hexdigest()[:16]
        self._bytes = [self._spelling(index) for index in range(self.vocab_size)]
        self.num_bytes = np.array([len(spelling) for spelling in self._bytes])
        self._opens = np.array([spelling.startswith((b" ", b"\n")) for spelling in self._bytes])
        self._ends_line = np.array([spelling.endswith(b"\n") for spelling in self._bytes])
        self._dtype = np.uint16 if self.vocab_size <= 1 << 16 else np.int32
        self._space_ids = [self._processor.piece_to_id(f"<0x{byte:02X}>") for byte in SPACE.encode()]

    @classmethod
    def train(cls, texts: Iterable[str], config: TokenizerConfig) -> "Tokenizer":
        """Train on the lines of ``texts``, evenly thinned to ten million characters; the same texts, the same result.

        Raises:
            SeqmemError: the text is too small or its alphabet too large for ``config.vocab_size``.
        """
        model = io.BytesIO()
        try:
            sentencepiece.SentencePieceTrainer.train(
                sentence_iterator=_lines(texts),
                model_writer=model,
                model_type=config.kind,
                vocab_size=config.vocab_size,
                byte_fallback=True,
                normalization_rule_name="identity",
                add_dummy_prefix=False,
                remove_extra_whitespaces=False,
                user_defined_symbols=["\n"],
                split_digits=True,
                character_coverage=0.9999,
                max_sentence_length=1 << 24,
                unk_id=0,
                bos_id=1,
                eos_id=-1,
                pad_id=-1,
                num_threads=2,  # the thread count takes part in the result
                minloglevel=4,
            )
        except RuntimeError as error:
            raise SeqmemError(f"tokenizer.vocab_size = {config.vocab_size}: {_explain(str(error))}") from None
        return cls(model.getvalue())

    def encode(self, text: str) -> np.ndarray:
        """Token ids ``[N]`` of ``text``, uint16 where the vocabulary allows, else int32."""
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise SeqmemError(f"the text is not valid Unicode at character {error.start}; give it as UTF-8") from None
        # A literal U+2581 would read as a space, so it is spelled in bytes.
        first, *others = self._processor.encode(text.split(SPACE))
        ids = first + [index for other in others for index in (*self._space_ids, *other)]
        return np.array(ids, dtype=self._dtype)

    def decode_bytes(self, ids: Iterable[int]) -> bytes:
        return b"".join(self._bytes[index] for index in ids)

    def begins_word(self, ids: np.ndarray) -> np.ndarray:
        return np.concatenate([[True], self._ends_line[ids[:-1]]]) | self._opens[ids]

    def describe(self) -> str:
        return f"SentencePiece, {self.vocab_size:,} pieces, {self.hash}"

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / FILE_NAME).write_bytes(self._model)

    @classmethod
    def load(cls, folder: Path) -> "Tokenizer":
        """Read what :meth:`save` wrote."""
        path = folder / FILE_NAME
        try:
            return cls(path.read_bytes())
        except OSError:
            raise SeqmemError(f"{path}: no tokenizer there; name a run or checkpoint folder") from None
        except RuntimeError:
            raise SeqmemError(f"{path}: not a SentencePiece model; restore the file from another checkpoint") from None

    def _spelling(self, index: int) -> bytes:
        piece = self._processor.id_to_piece(index)
        if self._processor.is_byte(index):
            return bytes([int(piece[3:5], 16)])
        if self._processor.is_control(index) or self._processor.is_unknown(index):
            return b""
        return piece.replace(SPACE, " ").encode()


def _lines(texts: Iterable[str]) -> Iterator[str]:
    lines = [line for text in texts for line in text.split("\n") if line]
    stride = max(1, -(-sum(map(len, lines)) // MAX_CHARACTERS))
    return iter(lines[::stride])


def _explain(message: str) -> str:
    if largest := re.search(r"value <= (\d+)", message):
        return f"the training text is too small; the largest size possible is {largest[1]}"
    if smallest := re.search(r"required_chars\. \d+ vs (\d+)", message):
        return f"the training text has too many characters; the smallest size possible is {smallest[1]}"
    return f"SentencePiece cannot train on this text ({message.strip()}); give more text"

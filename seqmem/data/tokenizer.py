"""SentencePiece tokenizers that give back every text exactly."""

import hashlib
import io
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import sentencepiece

from seqmem.config import TokenizerConfig
from seqmem.data.segmented_vocabulary import SegmentedVocabulary
from seqmem.data.text_vocabulary import utf8
from seqmem.errors import SeqmemError

FILE_NAME = "tokenizer.model"
SPACE = "▁"  # SentencePiece writes a space as U+2581
SPELLED_IN_BYTES = SPACE + "".join(map(chr, range(0xDC80, 0xDD00)))  # would be a space; bytes that are not UTF-8
SETTINGS: dict[str, Any] = dict(
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
)


class Tokenizer(SegmentedVocabulary):
    """Text <-> token ids, losslessly: what has no piece of its own is spelled in bytes.

    No piece goes on after a line break or over the beginning of a space, so that words can be encoded one by one.

    Attributes:
        hash: 16 hex digits of the model's SHA-256.
    """

    def __init__(self, model: bytes):
        processor = sentencepiece.SentencePieceProcessor(model_proto=model)
        super().__init__(
            [_spelling(processor, index) for index in range(processor.get_piece_size())],
            processor.bos_id(),
            segment=f"\n|[{SPELLED_IN_BYTES}]| ?[^ \n{SPELLED_IN_BYTES}]+| ",
        )
        self._model = model
        self._processor = processor
        self._spelled = {
            character: [processor.piece_to_id(f"<0x{byte:02X}>") for byte in utf8(character)]
            for character in SPELLED_IN_BYTES
        }
        self.hash = hashlib.sha256(model).hexdigest()[:16]

    @classmethod
    def train(cls, texts: Iterable[str], config: TokenizerConfig) -> "Tokenizer":
        """Train on the lines of ``texts``; the same lines, the same result.

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
                minloglevel=4,
                **SETTINGS,
            )
        except RuntimeError as error:
            raise SeqmemError(f"tokenizer.vocab_size = {config.vocab_size}: {_explain(str(error))}") from None
        return cls(model.getvalue())

    def encode_segment(self, text: str) -> list[int]:
        return self._spelled.get(text) or self._processor.encode(text)

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


def _spelling(processor: sentencepiece.SentencePieceProcessor, index: int) -> bytes:
    piece = processor.id_to_piece(index)
    if processor.is_byte(index):
        return bytes([int(piece[3:5], 16)])
    if processor.is_control(index) or processor.is_unknown(index):
        return b""
    return piece.replace(SPACE, " ").encode()


def _lines(texts: Iterable[str]) -> Iterator[str]:
    """What SentencePiece can be given: lines that are not empty, without bytes that are not UTF-8."""
    for text in texts:
        yield from filter(None, text.encode(errors="ignore").decode().split("\n"))


def _explain(message: str) -> str:
    if largest := re.search(r"value <= (\d+)", message):
        return f"the training text is too small; the largest size possible is {largest[1]}"
    if smallest := re.search(r"required_chars\. \d+ vs (\d+)", message):
        return f"the training text has too many characters; the smallest size possible is {smallest[1]}"
    return f"SentencePiece cannot train on this text ({message.strip()}); give more text"

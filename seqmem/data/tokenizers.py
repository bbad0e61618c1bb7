"""The tokenizer that a recipe names: made from its text, and found again."""

from collections.abc import Iterable
from pathlib import Path

from seqmem.config import TokenizerConfig
from seqmem.data import byte_tokenizer
from seqmem.data.byte_tokenizer import ByteTokenizer
from seqmem.data.text_vocabulary import TextVocabulary
from seqmem.data.tokenizer import Tokenizer


def new_tokenizer(texts: Iterable[str], config: TokenizerConfig) -> TextVocabulary:
    """Bytes, or a SentencePiece model trained on ``texts``.

    Raises:
        SeqmemError: the text is too small or its alphabet too large for ``config.vocab_size``.
    """
    return ByteTokenizer() if config.kind == "bytes" else Tokenizer.train(texts, config)


def saved_tokenizer(folder: Path) -> TextVocabulary:
    """What was saved in ``folder``, whichever it is.

    Raises:
        SeqmemError: there is none, or it cannot be read.
    """
    return ByteTokenizer() if (folder / byte_tokenizer.FILE_NAME).is_file() else Tokenizer.load(folder)

"""The tokenizer that a recipe names: made from its text, and found again."""

from collections.abc import Sequence
from pathlib import Path

from seqmem.config import TokenizerConfig
from seqmem.data import byte_tokenizer, table_tokenizer
from seqmem.data.byte_tokenizer import ByteTokenizer
from seqmem.data.sources.source import Source
from seqmem.data.table_tokenizer import TableTokenizer
from seqmem.data.text_vocabulary import TextVocabulary
from seqmem.data.tokenizer import Tokenizer
from seqmem.data.tokenizer_cache import trained_once
from seqmem.data.training_sample import training_sample


def new_tokenizer(sources: Sequence[Source], config: TokenizerConfig) -> TextVocabulary:
    """Bytes, or what is learnt from a sample of ``sources``.

    Raises:
        SeqmemError: a text cannot be read, there is too little, or its alphabet is too large for ``config.vocab_size``.
    """
    if config.kind == "bytes":
        return ByteTokenizer()
    train = TableTokenizer.train if config.kind in table_tokenizer.SEGMENTS else trained_once
    return train(training_sample(sources), config)


def saved_tokenizer(folder: Path) -> TextVocabulary:
    """What was saved in ``folder``, whichever it is.

    Raises:
        SeqmemError: there is none, or it cannot be read.
    """
    if (folder / byte_tokenizer.FILE_NAME).is_file():
        return ByteTokenizer()
    return (TableTokenizer if (folder / table_tokenizer.FILE_NAME).is_file() else Tokenizer).load(folder)

"""How much text tokens stand for, counted in constant memory."""

import codecs
from typing import NamedTuple

import numpy as np

from seqmem.data.text_vocabulary import TextVocabulary
from seqmem.data.vocabulary import TokenArray


class TextSize(NamedTuple):
    """UTF-8 bytes and whitespace words of a text."""

    num_bytes: int
    num_words: int


def text_size(tokens: TokenArray, tokenizer: TextVocabulary, chunk_len: int = 1 << 12) -> TextSize:
    """Measure documents laid end to end.

    Args:
        tokens: ``[N]`` ids, every document begun by BOS. Words are what ``str.split`` finds in each document.
        tokenizer: gave the ids.
        chunk_len: tokens decoded at a time.
    """
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    num_bytes, num_words, in_word = 0, 0, False
    for start in range(0, len(tokens), chunk_len):
        chunk = tokens[start : start + chunk_len]
        num_bytes += int(tokenizer.num_bytes[chunk].sum())
        documents = np.split(chunk, np.flatnonzero(chunk == tokenizer.bos_id))
        # A space at each BOS ends the word and the character before it, as the end of a document does.
        spelling = b" ".join(tokenizer.decode_bytes(document.tolist()) for document in documents)
        text = decoder.decode(spelling, final=start + chunk_len >= len(tokens))
        if text:
            num_words += len(text.split()) - (in_word and not text[0].isspace())
            in_word = not text[-1].isspace()
    return TextSize(num_bytes, num_words)

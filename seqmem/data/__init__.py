"""Text and sounds: corpora, tokenizers and codecs, contiguous token streams."""

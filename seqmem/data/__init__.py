"""Text: corpora, tokenizers and contiguous token streams."""

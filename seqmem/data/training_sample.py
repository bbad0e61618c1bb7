"""The part of a corpus that a tokenizer is trained on: bounded, spread over it evenly, always the same."""

from collections.abc import Iterator, Sequence
from io import StringIO

from seqmem.data.sources.source import Source

MAX_CHARACTERS = 10_000_000  # more text teaches a tokenizer nothing and takes minutes
MAX_READ = 64_000_000
MIN_SOURCES = 64


def training_sample(sources: Sequence[Source]) -> list[str]:
    """Lines with their line breaks: all there are, or every second, fourth ... of them, ten million characters at most.

    Of more than 64 MB, only evenly spaced sources are read, and those from their beginnings.

    Raises:
        SeqmemError: something cannot be read.
    """
    kept: list[str] = []
    size, stride = 0, 1
    for number, line in enumerate(_lines(sources)):
        if number % stride == 0:
            kept.append(line)
            size += len(line)
        if size > MAX_CHARACTERS:
            kept, stride = kept[::2], 2 * stride
            size = sum(map(len, kept))
    return kept


def _lines(sources: Sequence[Source]) -> Iterator[str]:
    total = sum(source.num_bytes for source in sources)
    stride = max(1, min(total // MAX_READ, len(sources) // MIN_SOURCES))
    read = sources[::stride]
    share = MAX_READ if total <= MAX_READ else MAX_READ // len(read)
    for source in read:
        left = share
        for piece in source.pieces():
            yield from StringIO(piece.text[:left], newline="\n")
            left -= len(piece.text)
            if left <= 0:
                break

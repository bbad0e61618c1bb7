"""What there is in a corpus: documents, bytes, words and lengths, counted by reading all of it once."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from seqmem.data.corpus import Corpus
from seqmem.data.sources.source import encoded
from seqmem.data.store.encode import invalid_bytes
from seqmem.data.words import count_words

BAR = 40


@dataclass
class SplitInfo:
    """Of the documents of a split.

    Attributes:
        lengths: how many documents have ``2 ** (k - 1)`` to ``2 ** k - 1`` words, by k.
        longest, shortest: words and name of a document.
    """

    num_documents: int = 0
    num_bytes: int = 0
    num_words: int = 0
    num_invalid: int = 0
    lengths: Counter[int] = field(default_factory=Counter)
    longest: tuple[int, str] | None = None
    shortest: tuple[int, str] | None = None

    def add(self, name: str, num_words: int) -> None:
        """Count a document that has come to its end."""
        self.num_documents += 1
        self.num_words += num_words
        self.lengths[num_words.bit_length()] += 1
        self.longest = max(self.longest or (num_words, name), (num_words, name))
        self.shortest = min(self.shortest or (num_words, name), (num_words, name))

    def histogram(self) -> str:
        """A line for each power of two, as long as there are documents of such lengths."""
        most = max(self.lengths.values())
        return "\n".join(
            f"{2**k // 2:>13,} - {max(0, 2**k - 1):<13,}{self.lengths[k]:>9,} {'#' * -(-BAR * self.lengths[k] // most)}"
            for k in range(min(self.lengths), max(self.lengths) + 1)
        )


def survey(corpus: Corpus, progress: Callable[[int, int], None]) -> dict[str, SplitInfo]:
    """Read every split.

    Args:
        progress: told the bytes read since it was told last, and about how many there are.

    Raises:
        SeqmemError: a text cannot be read.
    """
    total = sum(source.num_bytes for sources in corpus.splits.values() for source in sources)
    infos = {}
    for split, sources in corpus.splits.items():
        info = infos[split] = SplitInfo()
        name, num_words, in_word = None, 0, False
        for piece in (piece for source in sources for piece in source.pieces()):
            if piece.begins is not None:
                if name is not None:
                    info.add(name, num_words)
                name, num_words, in_word = piece.begins, 0, False
            content = encoded(piece.text)
            info.num_bytes += len(content)
            info.num_invalid += invalid_bytes(piece.text)
            num_words += count_words(piece.text) - (in_word and not piece.text[:1].isspace())
            in_word = not piece.text[-1:].isspace()
            progress(len(content), total)
        if name is not None:
            info.add(name, num_words)
    return infos


def table(corpus: Corpus, infos: dict[str, SplitInfo]) -> str:
    """All that was found, for a terminal."""
    lines = [corpus.note, "", f"{'split':<12}{'documents':>11}{'bytes':>16}{'words':>16}{'bytes not UTF-8':>17}"]
    for split, info in infos.items():
        counts = f"{info.num_documents:>11,}{info.num_bytes:>16,}{info.num_words:>16,}{info.num_invalid:>17,}"
        lines.append(f"{split:<12}{counts}")
    for split, info in infos.items():
        if info.longest and info.shortest:
            lines += ["", f"words of a document of {split}", info.histogram()]
            for which, (num_words, name) in {"shortest": info.shortest, "longest": info.longest}.items():
                lines.append(f"{which:<12}{name}, {num_words:,} words")
    return "\n".join(lines)

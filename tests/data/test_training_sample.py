"""What tokenizers are trained on: all of a small corpus, and of a large one a bounded part of all of it."""

from collections.abc import Iterator
from itertools import pairwise

import pytest

from seqmem.data import training_sample as module
from seqmem.data.sources.source import Piece, Source, Text
from seqmem.data.training_sample import training_sample


class Counted(Source):
    """Endless text, whose pieces that are read are counted."""

    def __init__(self, name: str, num_bytes: int):
        self.name, self.num_bytes, self.num_read = name, num_bytes, 0

    def pieces(self) -> Iterator[Piece]:
        while True:
            self.num_read += 1
            yield Piece(f"{self.name} {'x' * 89}\n" * 10, None)


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_CHARACTERS", 10_000)
    monkeypatch.setattr(module, "MAX_READ", 64_000)
    monkeypatch.setattr(module, "MIN_SOURCES", 8)


def test_of_a_small_corpus_it_is_every_line():
    texts = ["one\ntwo\n\n", "three\r\nfour\x85\u2028\r", "", "five"]
    assert training_sample([Text("", text) for text in texts]) == [
        *("one\n", "two\n", "\n", "three\r\n", "four\x85\u2028\r", "five")
    ]


def test_of_more_it_is_every_second_line_every_fourth_and_so_on():
    lines = [f"{number:09}\n" for number in range(3000)]
    half = len("".join(lines)) // 2
    sources = [Text("", "".join(lines)[:half]), Text("", "".join(lines)[half:])]
    assert training_sample(sources) == lines[::4]


@pytest.mark.parametrize(
    ("num_sources", "num_bytes"), [(1, 10**9), (3, 10**9), (100, 10**5), (50_000, 2000), (9, 10**6), (10**5, 10**6)]
)
def test_of_much_little_is_read_evenly_spaced(num_sources, num_bytes):
    sources = [Counted(f"{number:09}", num_bytes) for number in range(num_sources)]
    sample = training_sample(sources)
    assert 5_000 < sum(map(len, sample)) <= 10_000
    used = [number for number, source in enumerate(sources) if source.num_read]
    assert len(used) >= min(8, num_sources)
    assert sum(sources[number].num_read for number in used) <= 64 + len(used)
    assert len({after - before for before, after in pairwise(used)}) <= 1
    assert used[-1] >= num_sources * (1 - 1 / len(used)) - 1
    assert len({line[:9] for line in sample}) >= min(len(used), 8)


def test_one_endless_line_ends():
    assert sum(map(len, training_sample([Text("", "x" * 50_000), Text("", "y" * 50_000)]))) <= 64_000


def test_it_is_always_the_same():
    first, again = (training_sample([Counted(f"{number:09}", 10**6) for number in range(40)]) for _ in range(2))
    assert first == again

"""From a corpus and a tokenizer to a store of tokens: found if it is there, else made, by as many processes as pay."""

import hashlib
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from seqmem.data.bar import byte_bar
from seqmem.data.cache import directory, made_once
from seqmem.data.corpus import SPLITS, Corpus
from seqmem.data.sources.source import Piece, Source
from seqmem.data.store.encode import BYTES_WORTH_A_WORKER, encode
from seqmem.data.store.shard import Shard, ShardWriter, finished_shards, shard_name
from seqmem.data.store.token_store import TokenStore
from seqmem.data.text_vocabulary import TextVocabulary
from seqmem.data.workers import num_cores
from seqmem.errors import SeqmemError

SHARD_TOKENS = 1 << 25


def tokenized(corpus: Corpus, tokenizer: TextVocabulary) -> TokenStore:
    """The store in the user's cache of ``corpus`` in the tokens of ``tokenizer``.

    One that is of other texts by now, or damaged, is named and made anew. What a killed process had done is used by the
    next. However much text there is, little of it is held in memory.

    Raises:
        SeqmemError: a text cannot be read.
    """
    identity = hashlib.sha256(f"{corpus.place} {tokenizer.hash}".encode()).hexdigest()
    folder = directory("tokens") / f"{corpus.name}-{identity[:12]}"

    def make(workplace: Path) -> TokenStore:
        if problem := _look(folder, corpus)[1]:
            print(problem, file=sys.stderr)
        with byte_bar("text to tokens") as progress:
            return _make(corpus, tokenizer, folder, _of_this(corpus, workplace), progress)

    return made_once(folder, directory("tokens"), lambda: _look(folder, corpus)[0], make)


def _look(folder: Path, corpus: Corpus) -> tuple[TokenStore | None, str]:
    """The corpus's store, or why the one that is there is not it."""
    if not folder.exists():
        return None, ""
    try:
        store = TokenStore.open(folder)
    except SeqmemError as problem:
        return None, f"{str(problem).rpartition(';')[0]}; making it anew"
    if store.identity != corpus.identity:
        return None, f"{folder}: '{corpus.name}' has changed since its tokens were stored; making them anew"
    return store, ""


def _of_this(corpus: Corpus, workplace: Path) -> Path:
    """The workplace, without what was made of other texts."""
    about = workplace / "identity"
    if not about.is_file() or about.read_text() != corpus.identity:
        shutil.rmtree(workplace)
        workplace.mkdir()
        about.write_text(corpus.identity)
    return workplace


def _make(
    corpus: Corpus, tokenizer: TextVocabulary, folder: Path, workplace: Path, progress: Callable[[int, int], None]
) -> TokenStore:
    total = sum(source.num_bytes for sources in corpus.splits.values() for source in sources)
    num_workers = min(num_cores(), total // BYTES_WORTH_A_WORKER)
    shards = {
        split: _encode_split(
            corpus.splits[split], split, tokenizer, workplace, num_workers, lambda done: progress(done, total)
        )
        for split in SPLITS
    }
    note = corpus.note
    if num_invalid := sum(shard.num_invalid for some in shards.values() for shard in some):
        note += f" {num_invalid:,} bytes of it are not UTF-8."
    dtype = str(tokenizer.encode("").dtype)
    TokenStore(workplace, corpus.name, note, corpus.identity, tokenizer.hash, dtype, shards).write()
    if folder.exists():
        shutil.rmtree(folder)
    os.replace(workplace, folder)
    return TokenStore.open(folder)


def _encode_split(
    sources: Sequence[Source],
    split: str,
    tokenizer: TextVocabulary,
    folder: Path,
    num_workers: int,
    progress: Callable[[int], None],
) -> list[Shard]:
    """The shards of a split, of which those that are there already are used."""
    shards = finished_shards(folder, split)
    progress(sum(shard.num_bytes for shard in shards))
    places: list[tuple[int, int]] = []

    def pieces() -> Iterator[Piece]:
        for place, piece in _pieces_after(sources, shards[-1].ends_at if shards else (0, 0)):
            places.append(place)
            yield piece

    encoded = encode(pieces(), tokenizer, folder / "tokenizer", num_workers)
    is_over = False
    while not is_over:
        is_over = True
        with ShardWriter(folder, shard_name(split, len(shards)), shards[-1] if shards else None) as writer:
            for piece in encoded:
                writer.add(piece, tokenizer.bos_ids)
                progress(piece.num_bytes)
                place = places.pop(0)
                if writer.num_tokens >= SHARD_TOKENS:
                    is_over = False
                    break
            if writer.num_tokens:
                shards.append(writer.finish(place))
    return shards


def _pieces_after(sources: Sequence[Source], place: tuple[int, int]) -> Iterator[tuple[tuple[int, int], Piece]]:
    """The pieces of all sources from ``place`` on, and with each the place after it."""
    first, done = place
    for index in range(first, len(sources)):
        for number, piece in enumerate(sources[index].pieces(), 1):
            if number > done:
                yield (index, number), piece
        done = 0

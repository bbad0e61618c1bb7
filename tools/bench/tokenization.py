"""How fast texts become tokens: every kind of tokenizer, and SentencePiece as it is called plainly, taking turns."""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, get_args

import click
import numpy as np
import sentencepiece
from measure import report

from seqmem.config import DataConfig, TokenizerConfig
from seqmem.data.corpus import load_corpus
from seqmem.data.sources.source import Source, encoded
from seqmem.data.tokenizer import FILE_NAME
from seqmem.data.tokenizers import new_tokenizer, saved_tokenizer
from seqmem.report.speed import take_turns

KINDS = get_args(TokenizerConfig.model_fields["kind"].annotation)
PIECES = 32
PLAIN = "plain SentencePiece"

Encode = Callable[[str], np.ndarray]


@click.command()
@click.option("--data", type=click.Path(path_type=Path), help="A folder of books; the King James Bible when absent.")
@click.option("--vocab-size", default=8000, show_default=True)
@click.option("--rounds", default=5, show_default=True)
@click.option("--json", "json_path", is_flag=False, flag_value="-", help="Write JSON to a path, or - for the screen.")
def tokenization(data: Path | None, vocab_size: int, rounds: int, json_path: str | None) -> None:
    """Megabytes a second of tokenizers, newly loaded, on text that they were not trained on, 32 MB at most."""
    splits = load_corpus(DataConfig(path=data)).splits
    texts = pieces([*splits["test"], *splits["validation"]])
    num_bytes = sum(len(encoded(text)) for text in texts)
    with TemporaryDirectory() as place:
        turns: dict[str, Callable[[], int]] = {}
        for kind in KINDS:
            folder = Path(place) / kind
            new_tokenizer(splits["train"], TokenizerConfig(kind=kind, vocab_size=vocab_size)).save(folder)
            turns[kind] = partial(encode, texts, loaded, folder)
            if (folder / FILE_NAME).is_file():
                turns[f"{kind}, {PLAIN}"] = partial(encode, texts, plain, folder)
        tokens = {name: turn() for name, turn in turns.items()}
        seconds = take_turns(turns, rounds)
    record: dict[str, Any] = {"num_bytes": num_bytes, "vocab_size": vocab_size}
    lines = [f"{num_bytes:,} bytes, up to {vocab_size:,} ids"]
    for name, taken in seconds.items():
        rate, spread = num_bytes / taken / 1e6, num_bytes / tokens[name]
        record[name] = {"megabytes_a_second": rate, "bytes_a_token": spread}
        line = f"{name:<30} {rate:>7.2f} MB/s {spread:>7.2f} bytes/token"
        if beside := seconds.get(f"{name}, {PLAIN}"):
            record[name]["times_plain"] = beside / taken
            line += f" {beside / taken:>7.2f} x {PLAIN}"
        lines.append(line)
    report(record, lines, json_path)


def pieces(sources: Sequence[Source]) -> list[str]:
    return [piece.text for piece in islice((piece for source in sources for piece in source.pieces()), PIECES)]


def encode(texts: Sequence[str], load: Callable[[Path], Encode], folder: Path) -> int:
    """The number of tokens."""
    return sum(map(len, map(load(folder), texts)))


def loaded(folder: Path) -> Encode:
    return saved_tokenizer(folder).encode


def plain(folder: Path) -> Encode:
    """A text at a time, whole, into an array."""
    processor = sentencepiece.SentencePieceProcessor(model_file=str(folder / FILE_NAME))
    return lambda text: np.array(processor.encode(text), np.uint16)

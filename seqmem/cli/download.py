"""``seqmem data download``: public corpora."""

from pathlib import Path

import click


@click.group()
def command() -> None:
    """Fetch a public corpus."""


@command.command()
@click.option(
    "--split",
    "chosen",
    type=click.Choice(["train", "validation", "test"]),
    multiple=True,
    help="What to fetch; may be given more than once.  [default: all three]",
)
@click.option("--out", type=click.Path(path_type=Path), default="data/pg19", show_default=True, help="Folder.")
@click.option(
    "--source",
    type=click.Choice(["bucket", "hub"]),
    default="bucket",
    show_default=True,
    help="The release, a text file a book, or emozilla/pg19 on the Hugging Face Hub, Parquet files of many.",
)
@click.option("--base-url", metavar="URL", help="Of a copy of that bucket or Hub.")
@click.option("--workers", type=click.IntRange(1, 64), default=16, show_default=True, help="Files fetched at a time.")
def pg19(chosen: tuple[str, ...], out: Path, source: str, base_url: str | None, workers: int) -> None:
    """Fetch PG-19: 28,752 books published before 1919, 11 GB of text.

    Every file is verified; books and words are counted. After Ctrl-C or a crash the same command goes on. A file in the
    folder that is not as the server lists it is replaced.
    """
    from seqmem.data.bar import byte_bar
    from seqmem.data.download.counts import BOOKS, WORDS
    from seqmem.data.download.pg19 import download

    splits = [split for split in BOOKS if split in chosen or not chosen]
    with byte_bar("PG-19") as progress:
        counts = download(out, splits, source, base_url, workers, progress)
    for split, (books, words) in counts.items():
        click.echo(f"{split:<11}{books:>7,} books{_counted(words, WORDS[split])}")
    click.echo(f"\nNext: seqmem train recipes/pg19 --data {out}")


def _counted(words: int | None, published: int) -> str:
    if words is None:
        return ""
    return f"{words:>15,} words, {f'{words - published:+,} of what is' if words != published else 'as'} published"

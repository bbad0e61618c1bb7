"""``seqmem data``: what recipes train on, made ready."""

from pathlib import Path

import click

from seqmem.cli import download


@click.group()
def command() -> None:
    """Fetch data, make it ready for training, and look at it."""


command.add_command(download.command, "download")


@command.command("prepare-audio")
@click.argument("path", type=click.Path(path_type=Path))
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Folder of the store.  [default: one in the user's cache, where training on PATH looks for it]",
)
@click.option(
    "--sample-rate",
    type=click.IntRange(1000, 192000),
    default=16000,
    show_default=True,
    help="Samples a second; a recipe's is its codec.sample_rate.",
)
@click.option("--workers", type=click.IntRange(min=1), help="Processes, at most.  [default: one for each core]")
def prepare_audio(path: Path, out: Path | None, sample_rate: int, workers: int | None) -> None:
    """Convert the WAV, FLAC and OGG files of PATH to 16-bit samples of one channel and rate, and report on them.

    PATH is a folder, searched with its subfolders, a .jsonl manifest or one file. Corrupt, empty and silent files are
    named and left out. After Ctrl-C or a crash the same command goes on.
    """
    from rich.console import Console
    from rich.progress import Progress

    from seqmem.data.audio_prepare import prepare
    from seqmem.report.levels import drawn_report

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("files", total=None)
        store = prepare(
            path, sample_rate, out, workers, lambda done, total: bar.update(task, advance=done, total=total)
        )
    click.echo(f"{store.note}\n\n{store.report.table()}\n\nstore      {store.folder}\npicture    {drawn_report(store)}")
    click.echo(f"\nNext: seqmem train recipes/audio --data {store.folder} --codec.sample_rate {sample_rate}")


@command.command("info")
@click.argument("path")
def info(path: str) -> None:
    """Say how many documents, bytes and words PATH has, how long the documents are, and how they would be split.

    PATH is a folder, a file or a URL of texts, as seqmem train --data takes it. All of it is read.
    """
    from seqmem.config import DataConfig
    from seqmem.data.bar import byte_bar
    from seqmem.data.corpus import load_corpus
    from seqmem.data.info import survey, table

    corpus = load_corpus(DataConfig.model_validate({"path": path}))
    with byte_bar("reading") as progress:
        infos = survey(corpus, progress)
    click.echo(table(corpus, infos))

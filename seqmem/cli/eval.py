"""``seqmem eval``: a run measured on a held-out split."""

from pathlib import Path
from typing import Any, Literal

import click


class Numbers(click.ParamType):
    """Numbers with commas between them: ``1024,16384``."""

    name = "numbers"
    hint = "neither a number, as 1024, nor several, as 1024,16384"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        parts = value.split(",")
        if not all(part.isdecimal() for part in parts):
            self.fail(f"'{value}' is {self.hint}.", param, ctx)
        return tuple(map(int, parts))


class MemoryLength(Numbers):
    """``128`` for every layer, or one number a layer: ``16,16,128``."""

    name = "memory length"
    hint = "neither a number, as 128, nor one a layer, as 16,16,128"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> int | tuple[int, ...]:
        first, *others = super().convert(value, param, ctx)
        return (first, *others) if others else first


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--split", type=click.Choice(["validation", "test"]), default="validation", show_default=True)
@click.option("--data", metavar="PATH", help="Measure on this folder, file or URL of texts, or on sounds.")
@click.option("--segment-len", type=click.IntRange(min=1), help="Tokens a call.  [default: the recipe's]")
@click.option("--mem-len", type=MemoryLength(), metavar="N[,N]", help="Tokens of memory.  [default: the recipe's]")
@click.option(
    "--cmem-len", type=MemoryLength(), metavar="N[,N]", help="Slots of compressed memory.  [default: the recipe's]"
)
@click.option(
    "--memory",
    type=click.Choice(["carry", "reset"]),
    help="At a document's end, carry memory into the next one or empty it.  [default: as in training]",
)
@click.option("--context", type=click.IntRange(min=1), help="Read overlapping windows of so many tokens instead.")
@click.option("--stride", type=click.IntRange(min=1), help="Tokens from one such window to the next.")
@click.option(
    "--lengths", type=Numbers(), metavar="N[,N]", help="Of recall: bytes of a sequence.  [default: the recipe's]"
)
@click.option("--samples", type=click.IntRange(min=1), help="Of recall: sequences of each.  [default: the recipe's]")
@click.option("--tables", is_flag=True, help="Also print nats by position in the document and by word frequency.")
@click.option("--backend", metavar="NAME[,NAME]", help="Who computes attention.  [default: the recipe's]")
def command(
    run: Path,
    split: str,
    data: str | None,
    segment_len: int | None,
    mem_len: int | tuple[int, ...] | None,
    cmem_len: int | tuple[int, ...] | None,
    memory: Literal["carry", "reset"] | None,
    context: int | None,
    stride: int | None,
    lengths: tuple[int, ...] | None,
    samples: int | None,
    tables: bool,
    backend: str | None,
) -> None:
    """Measure RUN in nats/token, bits/byte and word-level perplexity, or bits/sample; written to eval.json there.

    A masked language model is measured in bits a masked token; what learns a task or recall, by its answers. Recall is
    written to recall.json, which seqmem plot draws.
    """
    from seqmem.train.evaluate import evaluate_run

    windows = None
    if context and stride:
        windows = context, stride
        if stride > context:
            raise click.UsageError(f"--stride {stride} would leave out tokens between windows of {context}; give less.")
    elif context or stride:
        raise click.UsageError("--context and --stride go together; give both, as --context 2048 --stride 512.")
    evaluation = evaluate_run(
        run,
        split,
        data=data,
        segment_len=segment_len,
        mem_len=mem_len,
        cmem_len=cmem_len,
        at_document_end=memory,
        windows=windows,
        lengths=lengths,
        samples=samples,
        backend=backend,
    )
    click.echo(evaluation.table())
    if tables:
        click.echo(f"\n{evaluation.tables()}")

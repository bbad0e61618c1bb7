"""``seqmem generate``: a run writes text."""

from pathlib import Path

import click

from seqmem.cli.sampling import sampling_options
from seqmem.errors import SeqmemError


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--prompt", help="Text to go on from.  [default: the recipe's]")
@click.option("--tokens", type=click.IntRange(min=1), help="How many to write.  [default: the recipe's]")
@sampling_options
def command(
    run: Path,
    prompt: str | None,
    tokens: int | None,
    temperature: float | None,
    top_p: float | None,
    seed: int,
    backend: str | None,
) -> None:
    """Write text with RUN, a run's folder or one of its checkpoints."""
    import torch

    from seqmem.generate.sampling import Sampler
    from seqmem.generate.text import generate
    from seqmem.ops import bind
    from seqmem.train.checkpoint import load, load_recipe_of, load_tokenizer
    from seqmem.train.device import default_device

    recipe = load_recipe_of(run)
    if recipe.codec:
        raise SeqmemError(f"run '{run}' makes sound, not text; use seqmem generate-audio {run}")
    given = {"prompt": prompt, "tokens": tokens, "temperature": temperature, "top_p": top_p}
    options = recipe.generate.model_copy(update={key: value for key, value in given.items() if value is not None})
    model = load(run, bind(backend or recipe.backend)).to(default_device())
    sampler = Sampler(options.temperature, options.top_p, torch.Generator().manual_seed(seed))
    click.echo(options.prompt, nl=False)
    for piece in generate(model, load_tokenizer(run), options.prompt, options.tokens, sampler):
        click.echo(piece, nl=False)
    click.echo()

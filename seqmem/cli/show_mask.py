"""``seqmem show-mask``: who sees whom."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from jaxtyping import Bool
    from torch import Tensor


@click.command()
@click.argument("model", metavar="MODEL[/SIZE]")
@click.option(
    "--length", type=click.IntRange(min=1), default=48, show_default=True, help="Tokens, at most a segment or max_len."
)
@click.option("--set", "assignments", metavar="KEY=VALUE", multiple=True, help="Another value of the model's.")
@click.option(
    "--png", type=click.Path(path_type=Path, dir_okay=False), help="Draw all heads and layers into this file."
)
def command(model: str, length: int, assignments: tuple[str, ...], png: Path | None) -> None:
    """Draw which keys the tokens of each layer see, memory full: memory first, then the tokens themselves.

    An encoder is drawn without the global tokens that may be given to it. A layer's heads are drawn once where they see
    the same. A row of text stands for two tokens.
    """
    from seqmem.cli.settings import split_settings
    from seqmem.models import ENCODERS, MODELS
    from seqmem.report.mask import attention_masks, drawn
    from seqmem.report.mask_figure import draw

    name = model if "/" in model else f"{model}/tiny"
    models = ENCODERS if name.partition("/")[0] in ENCODERS else MODELS
    masks = attention_masks(models.config(name, **split_settings(assignments)[1]), length)
    for layer, mask in enumerate(masks):
        for heads, own in _by_pattern(mask).items():
            num_queries, num_keys = own.shape
            click.echo(f"layer {layer}{heads}: {num_queries} tokens x {num_keys} keys, {own.float().mean():.0%} seen")
            click.echo(drawn(own, 96))
    if png:
        draw(name, masks, png)
        click.echo(f"wrote {png}")


def _by_pattern(mask: Bool[Tensor, "H T S"]) -> dict[str, Bool[Tensor, "T S"]]:
    """Masks ``[T, S]`` by the heads that have them, in words; one without words where all heads are alike."""
    groups: dict[bytes, list[int]] = {}
    for head, own in enumerate(mask):
        groups.setdefault(own.numpy().tobytes(), []).append(head)
    if len(groups) == 1:
        return {"": mask[0]}
    return {f", head {', '.join(map(str, heads))}": mask[heads[0]] for heads in groups.values()}

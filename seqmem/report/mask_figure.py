"""The figure of ``seqmem show-mask``."""

from collections.abc import Sequence
from pathlib import Path

from jaxtyping import Bool
from torch import Tensor

from seqmem.report.style import panels


def draw(name: str, masks: Sequence[Bool[Tensor, "H T S"]], path: Path) -> None:
    """A panel a layer: queries down, keys across, the darker the more heads see the key."""
    with panels(path, len(masks)) as grid:
        for layer, (axes, mask) in enumerate(zip(grid, masks, strict=True)):
            num_queries, num_keys = mask.shape[1:]
            past = num_keys - num_queries
            share = mask.float().mean(0)
            axes.imshow(
                share.numpy(), cmap="Blues", vmin=0, vmax=1, extent=(-past, num_queries, num_queries, 0), aspect="auto"
            )
            axes.grid(False)
            axes.set(title=f"{name}, layer {layer}", xlabel="key, counted from the first token", ylabel="token")

"""Which keys the rows of a layout of blocks see, as the kernels read it."""

import torch
import torch.nn.functional as F

from seqmem.ops.pattern import Blocks

from .arguments import Argument


def runs(pattern: Blocks, num_keys: int) -> dict[str, Argument]:
    """The arguments of :mod:`.kernels.run_walk`."""
    size, num_rows = pattern.size, -(-num_keys // pattern.size)
    seen = pattern.layout[:, :num_rows, :num_rows]
    seen = F.pad(seen.tril() if pattern.causal else seen, (1, 1))
    before, here, after = seen[..., :-2], seen[..., 1:-1], seen[..., 2:]
    begins, ends = here & ~before, here & ~after
    keys = torch.stack([begins.nonzero()[:, 2] * size, (ends.nonzero()[:, 2] + 1) * size], 1)
    return {
        "first_run": F.pad(begins.sum(2).flatten().cumsum(0), (1, 0)),
        "runs": keys.clamp(max=num_keys),
        "block_size": size,
        "num_rows": num_rows,
        "layout_heads": len(seen),
    }

"""What gates make of a chunk of updates: Titans' recurrences, on scalars (arXiv 2501.00663, section 3.2)."""

from dataclasses import dataclass
from typing import Self

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from seqmem.ops import Ops


@dataclass(frozen=True)
class Gates:
    """Of every token and head, ``[..., T]`` each.

    Args:
        decay: alpha, the share of the memory that is forgotten.
        momentum: eta, the share of the last surprise that stays.
        step: theta, how much of a token's own surprise is added.
    """

    decay: Float[Tensor, "... T"]
    momentum: Float[Tensor, "... T"]
    step: Float[Tensor, "... T"]

    def __getitem__(self, tokens: slice) -> Self:
        return type(self)(self.decay[..., tokens], self.momentum[..., tokens], self.step[..., tokens])

    def chunked(self, length: int) -> Self:
        """Gates ``[B, H, T]`` as ``[B * H, T / length, length]``."""
        gates = (self.decay, self.momentum, self.step)
        return type(self)(*(gate.flatten(0, 1).unflatten(1, (-1, length)) for gate in gates))


@dataclass(frozen=True)
class Mixture:
    """The memory after every token of a chunk: ``W_t = keep_t W + carry_t S - sum_i updates_ti G_i``.

    W and S are the memory's weights and momentum before the chunk, G_i the gradient of token i.

    Args:
        shares: keep and carry.
        updates: 0 for tokens to come.
        move: shares of W and S (columns) in weights and momentum after the chunk (rows).
        last_updates: likewise of the gradients, ``sum_i last_updates_i G_i`` less.
    """

    shares: Float[Tensor, "... 2 c"]
    updates: Float[Tensor, "... c c"]
    move: Float[Tensor, "... 2 2"]
    last_updates: Float[Tensor, "... 2 c"]

    def tensors(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """In the order of the fields."""
        return self.shares, self.updates, self.move, self.last_updates


def mixture(ops: Ops, gates: Gates) -> Mixture:
    """Unroll ``S_t = eta_t S_{t-1} - theta_t G_t`` and ``W_t = (1 - alpha_t) W_{t-1} + S_t`` (equations 13 and 14).

    Two scans over one column for each of the chunk's gradients, one for W and one for S; nothing is divided, so gates
    may be 0 or 1.

    Args:
        gates: of a chunk's tokens, with any leading dimensions.
    """
    leading, length = gates.step.shape[:-1], gates.step.shape[-1]
    decay, momentum, step = (gate.reshape(-1, length) for gate in (gates.decay, gates.momentum, gates.step))
    columns = F.pad(torch.diag_embed(step), (0, 2))
    of_weights, of_momentum = F.pad(torch.eye(2, dtype=step.dtype, device=step.device), (length, 0))
    surprise, last = ops.scan(momentum[..., None], columns, of_momentum.expand(len(step), -1))
    memory, _ = ops.scan(1 - decay[..., None], surprise, of_weights.expand(len(step), -1))
    updates, shares = memory.unflatten(0, leading).split((length, 2), -1)
    last_updates, move = torch.stack([memory[:, -1], last], 1).unflatten(0, leading).split((length, 2), -1)
    return Mixture(shares.mT, updates, move, last_updates)

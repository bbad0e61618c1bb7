"""Tokens through all layers of a Feedback Transformer, one after the other: the products, without autograd."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from seqmem.ops.step import Affine
from seqmem.state import newest

NORM_EPS = 1e-5


class LayerWeights(NamedTuple):
    """Of a layer; matrices are ``[out, in]``."""

    query: Tensor
    out: Tensor
    norm: Tensor
    norm_bias: Tensor
    inner: Tensor
    inner_bias: Tensor
    outer: Tensor
    outer_bias: Tensor


class SharedWeights(NamedTuple):
    """Of all layers.

    Args:
        norm, norm_bias: of what queries are made of, and of memories.
        keys_values: of memories, ``[2 * H * D, d]``.
        mix: the share of each layer's output in a memory, the embedding's first, ``[L + 1]``.
        u, v: added to queries that meet keys and positions, ``[H, D]``.
        relative: of every distance, farthest first and 1 last, ``[C, H, D]``.
    """

    norm: Tensor
    norm_bias: Tensor
    keys_values: Tensor
    mix: Tensor
    u: Tensor
    v: Tensor
    relative: Tensor


class Dropped(NamedTuple):
    """Masks of dropout, scaled, ``[..., B, width]``: of what attention gives, within the feed-forward, of its end."""

    attended: Tensor | None = None
    inner: Tensor | None = None
    outer: Tensor | None = None


@dataclass
class Columns:
    """Keys and values of memories in columns ``[2, H, B, N, D]``, oldest first; those from ``used`` on are room.

    Args:
        off: columns that are not to be seen, ``[H * B, 1, N]``; None where all are.
    """

    both: Float[Tensor, "2 H B N D"]
    used: int
    off: Bool[Tensor, "HB 1 N"] | None

    @classmethod
    def of(cls, keys_values: Float[Tensor, "B P 2 H D"], filled: Int[Tensor, "B"], room: int) -> "Columns":
        """A copy with room, of which the ``filled`` newest columns are seen."""
        batch, used, _, heads, width = keys_values.shape
        both = keys_values.new_empty(2, heads, batch, used + room, width)
        both[..., :used, :] = keys_values.permute(2, 3, 0, 1, 4)
        off = ~newest(filled, used)
        if not (used and off.any()):
            return cls(both, used, None)
        return cls(both, used, F.pad(off, (0, room)).expand(heads, -1, -1).flatten(0, 1)[:, None])

    @property
    def room(self) -> int:
        return self.both.shape[3] - self.used

    def append(self, keys_values: Float[Tensor, "B 2HD"]) -> None:
        """Those of the memory that a token leaves."""
        _, heads, _, _, width = self.both.shape
        self.both[..., self.used, :] = keys_values.unflatten(1, (2, heads, width)).permute(1, 2, 0, 3)
        self.used += 1

    def newest(self, count: int) -> Float[Tensor, "B P 2 H D"]:
        """The last ``count``, or as many as there are; a view."""
        return self.both[..., max(0, self.used - count) : self.used, :].permute(2, 3, 0, 1, 4)

    def near(self, window: int, used: int) -> "Near":
        """What a token sees of the first ``used``: the last ``window``, or as many as there are."""
        columns = slice(max(0, used - window), used)
        keys, values = self.both[..., columns, :].flatten(1, 2)
        return Near(keys, values, None if self.off is None else self.off[..., columns])


class Near(NamedTuple):
    """Keys and values that a token may see, ``[H * B, n, D]``, and which of them are off, ``[H * B, 1, n]``."""

    keys: Tensor
    values: Tensor
    off: Tensor | None


class Passed(NamedTuple):
    """What a token was in a layer.

    Args:
        query, attended: ``[B, H * D]``.
        middle: between attention and feed-forward, ``[B, d]``.
        inner: after activation and dropout, ``[B, d_inner]``.
        output: the next layer's input, ``[B, d]``.
    """

    query: Tensor
    attended: Tensor
    middle: Tensor
    inner: Tensor
    output: Tensor


class Reader:
    """Reads tokens, with the weights as they are now."""

    def __init__(self, shared: SharedWeights, layers: Sequence[LayerWeights]):
        def affine(weight: Tensor, bias: Tensor | None = None) -> Affine:
            return Affine(weight, bias).for_few_rows()

        self.shared, self.layers, self.offsets = shared, layers, offsets(shared)
        self.products = [
            (affine(w.query), affine(w.out), affine(w.inner, w.inner_bias), affine(w.outer, w.outer_bias))
            for w in layers
        ]
        self.keys_values = affine(shared.keys_values)

    def __call__(
        self, x: Float[Tensor, "B d"], columns: Columns, dropped: Sequence[Dropped] = ()
    ) -> tuple[list[Passed], Float[Tensor, "B d"]]:
        """Read a token; what it was in each layer, and its memory, which joins the columns.

        Args:
            dropped: of each layer; nothing when empty.
        """
        shared, size = self.shared, x.shape[-1:]
        window, num_heads, width = shared.relative.shape
        near = columns.near(window, columns.used)
        relative = shared.relative[window - near.keys.shape[1] :].permute(1, 2, 0)
        passed, levels = [], [x]
        for weights, products, masks in zip(
            self.layers, self.products, dropped or (Dropped(),) * len(self.layers), strict=True
        ):
            query, out, inner, outer = products
            q = query(torch.layer_norm(x, size, shared.norm, shared.norm_bias, NORM_EPS))
            probs = attention(*queries(q, self.offsets), near, relative)
            attended = torch.bmm(probs, near.values).view(num_heads, len(x), width).transpose(0, 1).flatten(1)
            middle = x + kept(out(attended), masks.attended)
            normed = torch.layer_norm(middle, size, weights.norm, weights.norm_bias, NORM_EPS)
            hidden = kept(inner(normed).relu_(), masks.inner)
            x = middle + kept(outer(hidden), masks.outer)
            passed.append(Passed(q, attended, middle, hidden, x))
            levels.append(x)
        memory = (shared.mix @ torch.stack(levels).flatten(1)).view_as(x)
        columns.append(self.keys_values(torch.layer_norm(memory, size, shared.norm, shared.norm_bias, NORM_EPS)))
        return passed, memory


def offsets(shared: SharedWeights) -> Float[Tensor, "2 H 1 D"]:
    """What is added to scaled queries for keys and for positions."""
    return torch.stack([shared.u, shared.v])[:, :, None] * shared.u.shape[1] ** -0.5


def queries(
    q: Float[Tensor, "B HD"], offsets: Float[Tensor, "2 H 1 D"]
) -> tuple[Float[Tensor, "H B D"], Float[Tensor, "H B D"]]:
    """What meets keys, and what meets positions, both scaled."""
    _, heads, _, width = offsets.shape
    content, place = torch.add(offsets, q.view(-1, heads, width).transpose(0, 1), alpha=width**-0.5).unbind()
    return content, place


def attention(
    content: Float[Tensor, "H B D"],
    place: Float[Tensor, "H B D"],
    near: Near,
    relative: Float[Tensor, "H D n"],
) -> Float[Tensor, "HB 1 n"]:
    """How much of each memory a token sees; nothing where there is none."""
    scores = torch.bmm(place, relative).view(len(near.keys), 1, -1)
    scores = torch.baddbmm(scores, content.flatten(0, 1)[:, None], near.keys.transpose(1, 2))
    if near.off is None:
        return scores.softmax(-1)
    lowest = torch.finfo(scores.dtype).min
    return scores.masked_fill(near.off, lowest).softmax(-1).masked_fill(near.off, 0)


def kept(x: Tensor, mask: Tensor | None) -> Tensor:
    """What dropout leaves of x."""
    return x if mask is None else x * mask

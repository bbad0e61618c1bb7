"""Tokens through all layers of a Feedback Transformer, one after the other: the products, without autograd."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from seqmem.ops.step import Affine

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
    """Masks of dropout, scaled, ``[L, T, B, width]``: of what attention gives, within the feed-forward, of its end."""

    attended: Tensor
    inner: Tensor
    outer: Tensor


@dataclass
class Columns:
    """Keys and values of memories in columns ``[2, H, B, N, D]``, oldest first; those from ``used`` on are room."""

    both: Float[Tensor, "2 H B N D"]
    used: int

    @classmethod
    def of(cls, keys_values: Float[Tensor, "B P 2 H D"], room: int) -> "Columns":
        """A copy with room."""
        batch, used, _, heads, width = keys_values.shape
        both = keys_values.new_empty(2, heads, batch, used + room, width)
        both[..., :used, :] = keys_values.permute(2, 3, 0, 1, 4)
        return cls(both, used)

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

    def seen(self, window: int) -> tuple[Float[Tensor, "HB n D"], Float[Tensor, "HB n D"]]:
        """Keys and values of the last ``window``, or as many as there are."""
        near = self.both[..., max(0, self.used - window) : self.used, :].flatten(1, 2)
        return near[0], near[1]


@dataclass
class Trace:
    """What tokens were in every layer, as their gradients need it.

    Args:
        levels: the embedding and the layers' outputs, ``[L + 1, T, B, d]``.
        queries, attended: ``[L, T, B, H * D]``.
        middles: between a layer's attention and its feed-forward, ``[L, T, B, d]``.
        inner: after the activation and dropout, ``[L, T, B, d_inner]``.
        memories: ``[T, B, d]``.
    """

    levels: Tensor
    queries: Tensor
    attended: Tensor
    middles: Tensor
    inner: Tensor
    memories: Tensor

    @classmethod
    def of(cls, x: Float[Tensor, "T B d"], layers: tuple[LayerWeights, ...]) -> "Trace":
        """Of tokens that are still to go through the layers."""
        depth, (num_tokens, batch, d_model) = len(layers), x.shape
        d_inner, width = layers[0].inner.shape[0], layers[0].query.shape[0]
        levels = x.new_empty(depth + 1, num_tokens, batch, d_model)
        levels[0] = x
        widths = (width, width, d_model, d_inner)
        queries, attended, middles, inner = (x.new_empty(depth, num_tokens, batch, size) for size in widths)
        return cls(levels, queries, attended, middles, inner, torch.empty_like(x))


class Reader:
    """Reads tokens.

    Args:
        for_many: whether so many tokens are to come that the weights are worth being laid out anew for them.
    """

    def __init__(self, shared: SharedWeights, layers: tuple[LayerWeights, ...], for_many: bool):
        def affine(weight: Tensor, bias: Tensor | None = None) -> Affine:
            return Affine(weight, bias).for_few_rows() if for_many else Affine(weight, bias)

        self.shared, self.layers = shared, layers
        self.products = [
            (affine(w.query), affine(w.out), affine(w.inner, w.inner_bias), affine(w.outer, w.outer_bias))
            for w in layers
        ]
        self.keys_values = affine(shared.keys_values)

    def __call__(self, x: Float[Tensor, "T B d"], columns: Columns, dropped: Dropped | None = None) -> Trace:
        """Read T tokens; their memories join the columns."""
        trace = Trace.of(x, self.layers)
        for token in range(len(x)):
            self._read(trace, token, columns, dropped)
        return trace

    def _read(self, trace: Trace, token: int, columns: Columns, dropped: Dropped | None) -> None:
        shared = self.shared
        window, num_heads, width = shared.relative.shape
        keys, values = columns.seen(window)
        relative = shared.relative[window - keys.shape[1] :].permute(1, 2, 0)
        x = trace.levels[0, token]
        for layer, (weights, (query, out, inner, outer)) in enumerate(zip(self.layers, self.products, strict=True)):
            q = query(F.layer_norm(x, x.shape[-1:], shared.norm, shared.norm_bias, NORM_EPS))
            probs = attention(*queries(q, shared), keys, relative)
            attended = torch.bmm(probs, values).view(num_heads, len(x), width).transpose(0, 1).flatten(1)
            middle = x + _kept(out(attended), dropped and dropped.attended[layer, token])
            normed = F.layer_norm(middle, x.shape[-1:], weights.norm, weights.norm_bias, NORM_EPS)
            hidden = _kept(inner(normed).relu_(), dropped and dropped.inner[layer, token])
            x = middle + _kept(outer(hidden), dropped and dropped.outer[layer, token])
            trace.queries[layer, token], trace.attended[layer, token] = q, attended
            trace.middles[layer, token], trace.inner[layer, token] = middle, hidden
            trace.levels[layer + 1, token] = x
        memory = torch.tensordot(shared.mix, trace.levels[:, token], 1)
        trace.memories[token] = memory
        columns.append(self.keys_values(F.layer_norm(memory, x.shape[-1:], shared.norm, shared.norm_bias, NORM_EPS)))


def queries(q: Float[Tensor, "B HD"], shared: SharedWeights) -> tuple[Tensor, Tensor]:
    """What meets keys, and what meets positions, both scaled, ``[H, B, D]``."""
    q = q.unflatten(1, shared.u.shape).transpose(0, 1)
    scale = q.shape[2] ** -0.5
    return (q + shared.u[:, None]) * scale, (q + shared.v[:, None]) * scale


def attention(
    content: Float[Tensor, "H B D"],
    place: Float[Tensor, "H B D"],
    keys: Float[Tensor, "HB n D"],
    relative: Float[Tensor, "H D n"],
) -> Float[Tensor, "HB 1 n"]:
    """How much of each memory a token sees; nothing where there is none."""
    scores = torch.bmm(place, relative).view(len(keys), 1, -1)
    return torch.baddbmm(scores, content.flatten(0, 1)[:, None], keys.transpose(1, 2)).softmax(-1)


def _kept(x: Tensor, mask: Tensor | None) -> Tensor:
    return x if mask is None else x * mask

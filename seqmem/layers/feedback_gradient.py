"""The gradient of a Feedback Transformer's tokens, by hand.

Backwards through time each token needs only the gradients of vectors. Those of matrices are sums over tokens: they wait
until the end, where each is one large product. Gradients of a token's keys and values are gathered in columns, all
layers' at once.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from seqmem.layers.feedback_pass import (
    NORM_EPS,
    Columns,
    Dropped,
    LayerWeights,
    Reader,
    SharedWeights,
    Trace,
    attention,
    queries,
)

aten = torch.ops.aten


class Recurrence(torch.autograd.Function):
    """``(x [T, B, d], past [B, P, 2, H, D], depth, *weights, *masks) -> (hidden, memories)``, both ``[T, B, d]``.

    Once differentiable. ``weights`` are the shared ones, then each layer's; masks of dropout may be left out.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, past: Tensor, depth: int, *tensors: Tensor) -> tuple[Tensor, Tensor]:
        shared, layers, dropped = _named(depth, tensors)
        columns = Columns.of(past, len(x))
        trace = Reader(shared, layers, for_many=True)(x, columns, dropped)
        ctx.depth = depth
        ctx.save_for_backward(*tensors, columns.both, *vars(trace).values())
        return trace.levels[-1].clone(), trace.memories.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, for_hidden: Tensor, for_memories: Tensor) -> tuple[Tensor | None, ...]:
        *tensors, both = ctx.saved_tensors[:-6]
        shared, layers, dropped = _named(ctx.depth, tensors)
        gradient = Gradient(shared, layers, both, Trace(*ctx.saved_tensors[-6:]), dropped)
        x, past = gradient.back(for_hidden, for_memories)
        weights = [*gradient.of_shared(), *(grad for layer in range(ctx.depth) for grad in gradient.of_layer(layer))]
        return x, past, None, *weights, *[None] * (len(tensors) - len(weights))


def _named(
    depth: int, tensors: tuple[Tensor, ...] | list[Tensor]
) -> tuple[SharedWeights, tuple[LayerWeights, ...], Dropped | None]:
    """Weights and masks by name."""
    num_shared, size = len(SharedWeights._fields), len(LayerWeights._fields)
    ends = [num_shared + layer * size for layer in range(depth + 1)]
    layers = tuple(LayerWeights(*tensors[begin : begin + size]) for begin in ends[:-1])
    masks = tensors[ends[-1] :]
    return SharedWeights(*tensors[:num_shared]), layers, Dropped(*masks) if masks else None


class Gradient:
    """Of what :class:`Reader` has read; :meth:`back` comes first."""

    def __init__(
        self,
        shared: SharedWeights,
        layers: tuple[LayerWeights, ...],
        both: Float[Tensor, "2 H B N D"],
        trace: Trace,
        dropped: Dropped | None,
    ):
        self.shared, self.layers, self.trace, self.dropped = shared, layers, trace, dropped
        self.both = both
        self.for_both = torch.zeros_like(both)
        self.for_relative = torch.zeros_like(shared.relative.transpose(0, 1), memory_format=torch.contiguous_format)
        # Of what the matrices give, and of what the norms do.
        self.for_queries, self.for_attended = torch.empty_like(trace.queries), torch.empty_like(trace.middles)
        self.for_places = torch.empty_like(trace.queries)
        self.for_inner, self.for_outer = torch.empty_like(trace.inner), torch.empty_like(trace.middles)
        self.for_normed_levels, self.for_normed_middles = (torch.empty_like(trace.middles) for _ in range(2))
        num_tokens, batch, _ = trace.memories.shape
        self.for_keys_values = trace.memories.new_empty(num_tokens, batch, len(shared.keys_values))
        self.for_memories = torch.empty_like(trace.memories)
        self.levels, self.middles, self.memories = (
            _Normed(x) for x in (trace.levels[:-1], trace.middles, trace.memories)
        )

    def back(self, for_hidden: Tensor, for_memories: Tensor) -> tuple[Tensor, Tensor]:
        """Gradients of x and of the past's keys and values."""
        num_tokens = len(for_hidden)
        num_past = self.both.shape[3] - num_tokens
        for_x = torch.empty_like(for_hidden)
        for token in reversed(range(num_tokens)):
            used = num_past + token
            for_memory = for_memories[token] + self._of_memory(token, used)
            self.for_memories[token] = for_memory
            for_x[token] = self._through_layers(token, used, for_hidden[token], for_memory)
        return for_x, self.for_both[..., :num_past, :].permute(2, 3, 0, 1, 4)

    def _of_memory(self, token: int, column: int) -> Float[Tensor, "B d"]:
        """The memory's gradient, by way of its key and value."""
        keys_values = self.for_both[..., column, :].permute(2, 0, 1, 3).flatten(1)
        self.for_keys_values[token] = keys_values
        return self.memories.back(keys_values @ self.shared.keys_values, self.shared.norm, token)

    def _through_layers(self, token: int, used: int, grad: Tensor, for_memory: Tensor) -> Float[Tensor, "B d"]:
        """The gradient of the token's embedding."""
        shared, trace, dropped = self.shared, self.trace, self.dropped
        window = len(shared.relative)
        near = slice(max(0, used - window), used)
        keys, values = self.both[..., near, :].flatten(1, 2)
        relative = shared.relative[window - keys.shape[1] :].permute(1, 2, 0)
        shares = shared.mix[:, None, None] * for_memory
        grad = grad + shares[-1]
        seen = []
        for layer in reversed(range(len(self.layers))):
            at, weights = (layer, token), self.layers[layer]
            self.for_outer[at] = grad * dropped.outer[at] if dropped else grad
            inner = aten.threshold_backward(self.for_outer[at] @ weights.outer, trace.inner[at], 0)
            self.for_inner[at] = inner * dropped.inner[at] if dropped else inner
            self.for_normed_middles[at] = self.for_inner[at] @ weights.inner
            grad = grad + self.middles.back(self.for_normed_middles[at], weights.norm, *at)
            self.for_attended[at] = grad * dropped.attended[at] if dropped else grad
            seen.append(self._of_attention(at, self.for_attended[at] @ weights.out, keys, values, relative))
            self.for_normed_levels[at] = self.for_queries[at] @ weights.query
            grad = grad + self.levels.back(self.for_normed_levels[at], shared.norm, *at) + shares[layer]
        self._gather(near, *(torch.cat(parts, 1) for parts in zip(*seen, strict=True)))
        return grad

    def _of_attention(
        self, at: tuple[int, int], grad: Float[Tensor, "B HD"], keys: Tensor, values: Tensor, relative: Tensor
    ) -> tuple[Tensor, ...]:
        """Queries' gradients; what keys, values and positions will need comes back, ``[HB, 1, n or D]`` each."""
        num_heads, width = self.shared.u.shape
        content, place = queries(self.trace.queries[at], self.shared)
        probs = attention(content, place, keys, relative)
        grad = grad.unflatten(1, (num_heads, width)).transpose(0, 1).flatten(0, 1)[:, None]
        scores = aten._softmax_backward_data(torch.bmm(grad, values.transpose(1, 2)), probs, -1, probs.dtype)
        by_key = torch.bmm(scores, keys).view(content.shape)
        by_place = torch.bmm(scores.view(*content.shape[:2], relative.shape[2]), relative.transpose(1, 2))
        scale = width**-0.5
        self.for_places[at] = (by_place * scale).transpose(0, 1).flatten(1)
        self.for_queries[at] = ((by_key + by_place) * scale).transpose(0, 1).flatten(1)
        return scores, content.flatten(0, 1)[:, None], place.flatten(0, 1)[:, None], probs, grad

    def _gather(self, near: slice, scores: Tensor, content: Tensor, place: Tensor, probs: Tensor, grad: Tensor) -> None:
        """What a token's attention in all L layers adds to keys, values and positions; ``[HB, L, n or D]`` each."""
        num_keys = near.stop - near.start
        for_keys, for_values = self.for_both[..., near, :].flatten(1, 2)
        for_keys.baddbmm_(scores.transpose(1, 2), content)
        for_values.baddbmm_(probs.transpose(1, 2), grad)
        num_heads, _, width = self.for_relative.shape
        place = place.reshape(num_heads, -1, width)
        places = self.for_relative[:, self.for_relative.shape[1] - num_keys :]
        places.baddbmm_(scores.reshape(*place.shape[:2], num_keys).transpose(1, 2), place)

    def of_shared(self) -> SharedWeights:
        """Gradients of the shared weights."""
        shared, trace = self.shared, self.trace
        normed = self.for_keys_values @ shared.keys_values
        (levels, levels_bias), (memories, memories_bias) = (
            self.levels.weights(self.for_normed_levels),
            self.memories.weights(normed),
        )
        by_place = self.for_places.flatten(0, 2).sum(0).view_as(shared.v)
        return SharedWeights(
            levels + memories,
            levels_bias + memories_bias,
            _of_matrix(self.for_keys_values, self.memories.affine(shared.norm, shared.norm_bias)),
            torch.einsum("tbd,ltbd->l", self.for_memories, trace.levels),
            self.for_queries.flatten(0, 2).sum(0).view_as(shared.u) - by_place,
            by_place,
            self.for_relative.transpose(0, 1),
        )

    def of_layer(self, layer: int) -> LayerWeights:
        """Gradients of a layer's weights."""
        shared, weights, trace = self.shared, self.layers[layer], self.trace
        middles, for_normed = self.middles.layer(layer), self.for_normed_middles[layer]
        return LayerWeights(
            _of_matrix(self.for_queries[layer], self.levels.layer(layer).affine(shared.norm, shared.norm_bias)),
            _of_matrix(self.for_attended[layer], trace.attended[layer]),
            *middles.weights(for_normed),
            _of_matrix(self.for_inner[layer], middles.affine(weights.norm, weights.norm_bias)),
            self.for_inner[layer].flatten(0, 1).sum(0),
            _of_matrix(self.for_outer[layer], trace.inner[layer]),
            self.for_outer[layer].flatten(0, 1).sum(0),
        )


class _Normed:
    """Vectors ``[..., d]``, normalised, before gain and bias."""

    def __init__(self, x: Tensor):
        self.x = x
        self.normed, self.mean, self.rstd = torch.native_layer_norm(x, x.shape[-1:], None, None, NORM_EPS)

    def layer(self, layer: int) -> "_Normed":
        """Those of a layer."""
        found = object.__new__(_Normed)
        for name, tensor in vars(self).items():
            setattr(found, name, tensor[layer])
        return found

    def back(self, grad: Tensor, gain: Tensor, *at: int) -> Tensor:
        """Gradient of the vectors ``x[at]``."""
        x, mean, rstd = self.x[at], self.mean[at], self.rstd[at]
        return aten.native_layer_norm_backward(grad, x, x.shape[-1:], mean, rstd, gain, None, [True, False, False])[0]

    def affine(self, gain: Tensor, bias: Tensor) -> Tensor:
        return self.normed * gain + bias

    def weights(self, grad: Tensor) -> tuple[Tensor, Tensor]:
        """Gradients of gain and bias."""
        return (grad * self.normed).flatten(0, -2).sum(0), grad.flatten(0, -2).sum(0)


def _of_matrix(grad: Float[Tensor, "T B o"], x: Float[Tensor, "T B i"]) -> Float[Tensor, "o i"]:
    return grad.flatten(0, -2).t() @ x.flatten(0, -2)

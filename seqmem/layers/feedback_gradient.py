"""The gradient of a Feedback Transformer's tokens, by hand.

Backwards through time each token needs only the gradients of vectors. Those of matrices are sums over tokens: they wait
until the end, where each is one large product. Gradients of keys and values are gathered in columns, those from all
layers of a token at once.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from seqmem.layers.feedback_pass import (
    NORM_EPS,
    Columns,
    Dropped,
    LayerWeights,
    Near,
    Passed,
    Reader,
    SharedWeights,
    attention,
    kept,
    offsets,
    queries,
)
from seqmem.layers.normed import Normed

aten = torch.ops.aten


class Recurrence(torch.autograd.Function):
    """``(x [T, B, d], past [B, P, 2, H, D], filled [B], depth, *weights, *masks) -> (hidden, memories)``.

    Both are ``[T, B, d]``. Of the past the ``filled`` newest memories are seen. ``weights`` are the shared ones, then
    each layer's; masks of dropout ``[T, L, B, width]`` may be left out. Once differentiable.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, past: Tensor, filled: Tensor, depth: int, *tensors: Tensor
    ) -> tuple[Tensor, Tensor]:
        shared, layers, masks = _named(depth, tensors)
        columns = Columns.of(past, filled, len(x))
        reader = Reader(shared, layers)
        read = [
            reader(token, columns, dropped) for token, dropped in zip(x, _by_token(masks, len(x), depth), strict=True)
        ]
        memories = torch.stack([memory for _, memory in read])
        trace = _stacked([passed for passed, _ in read])
        ctx.depth = depth
        ctx.save_for_backward(x, columns.both, columns.off, memories, *trace, *tensors)
        return trace.output[:, -1].clone(), memories.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, for_hidden: Tensor, for_memories: Tensor) -> tuple[Tensor | None, ...]:
        x, both, off, memories, *others = ctx.saved_tensors
        size = len(Passed._fields)
        shared, layers, masks = _named(ctx.depth, others[size:])
        columns = Columns(both, both.shape[3], off)
        gradient = Gradient(shared, layers, columns, x, memories, Passed(*others[:size]))
        for_x, for_past = gradient.back(for_hidden, for_memories, _by_token(masks, len(x), ctx.depth))
        weights = [*gradient.of_shared(), *(grad for layer in range(ctx.depth) for grad in gradient.of_layer(layer))]
        return for_x, for_past, None, None, *weights, *[None] * len(masks)


def _named(depth: int, tensors: Sequence[Tensor]) -> tuple[SharedWeights, tuple[LayerWeights, ...], tuple[Tensor, ...]]:
    """Weights and masks by name."""
    num_shared, size = len(SharedWeights._fields), len(LayerWeights._fields)
    ends = [num_shared + layer * size for layer in range(depth + 1)]
    layers = tuple(LayerWeights(*tensors[begin : begin + size]) for begin in ends[:-1])
    masks = tensors[ends[-1] :]
    return SharedWeights(*tensors[:num_shared]), layers, tuple(masks)


def _by_token(masks: Sequence[Tensor], num_tokens: int, depth: int) -> list[list[Dropped]]:
    """Masks of each token in each layer."""
    if not masks:
        return [[Dropped()] * depth] * num_tokens
    return [[Dropped(*layer) for layer in zip(*token, strict=True)] for token in zip(*masks, strict=True)]


def _stacked(passed: Sequence[Sequence[Any]]) -> Any:
    """Records ``[T][L]`` of tensors as a record of tensors ``[T, L, ...]``."""
    rows = [record for token in passed for record in token]
    return type(rows[0])(*(torch.stack(part).unflatten(0, (len(passed), -1)) for part in zip(*rows, strict=True)))


class Gradients(NamedTuple):
    """In a layer, of what each matrix gives and of what each norm does.

    Args:
        place: the part of ``query`` that comes by way of positions, not scaled.
    """

    query: Tensor
    place: Tensor
    attended: Tensor
    inner: Tensor
    outer: Tensor
    normed_input: Tensor
    normed_middle: Tensor


class Seen(NamedTuple):
    """What keys, values and positions will need of a layer's attention, ``[H * B, 1, n or D]``."""

    for_scores: Tensor
    content: Tensor
    place: Tensor
    probs: Tensor
    for_attended: Tensor


class Gradient:
    """Of what a :class:`Reader` has read; :meth:`back` comes first.

    Args:
        columns: with those of the tokens.
        x, memories: of the tokens, ``[T, B, d]``.
        trace: ``[T, L, B, width]`` each.
    """

    def __init__(
        self,
        shared: SharedWeights,
        layers: tuple[LayerWeights, ...],
        columns: Columns,
        x: Tensor,
        memories: Tensor,
        trace: Passed,
    ):
        self.shared, self.layers, self.columns, self.trace = shared, layers, columns, trace
        self.offsets = offsets(shared)
        self.for_both = torch.zeros_like(columns.both)
        num_distances, *heads = shared.relative.shape
        self.for_relative = x.new_zeros(heads[0], num_distances, heads[1])
        self.levels = torch.cat([x[:, None], trace.output], 1)
        self.inputs, self.middles = Normed.of(self.levels[:, :-1], NORM_EPS), Normed.of(trace.middle, NORM_EPS)
        self.memories = Normed.of(memories, NORM_EPS)

    def back(
        self, for_hidden: Tensor, for_memories: Tensor, dropped: Sequence[Sequence[Dropped]]
    ) -> tuple[Tensor, Tensor]:
        """Gradients of x and of the past's keys and values."""
        num_tokens = len(for_hidden)
        num_past = self.columns.used - num_tokens
        inputs, middles = self.inputs.rows(), self.middles.rows()
        trace = [list(zip(*token, strict=True)) for token in zip(self.trace.query, self.trace.inner, strict=True)]
        for_x, found, memories, keys_values = [], [], [], []
        for token, memory in reversed([*enumerate(self.memories.rows())]):
            column = num_past + token
            keys_values.append(self.for_both[..., column, :].permute(2, 0, 1, 3).flatten(1))
            for_memory = memory.back(keys_values[-1] @ self.shared.keys_values, self.shared.norm)
            memories.append(for_memories[token] + for_memory)
            layers = list(zip(trace[token], inputs[token].rows(), middles[token].rows(), strict=True))
            grad, gradients = self._through_layers(layers, column, for_hidden[token], memories[-1], dropped[token])
            for_x.append(grad)
            found.append(gradients)
        self.found: Gradients = _stacked(found[::-1])
        self.for_memories, self.for_keys_values = torch.stack(memories[::-1]), torch.stack(keys_values[::-1])
        return torch.stack(for_x[::-1]), self.for_both[..., :num_past, :].permute(2, 3, 0, 1, 4)

    def _through_layers(
        self,
        layers: Sequence[tuple[Any, "Normed", "Normed"]],
        column: int,
        grad: Float[Tensor, "B d"],
        for_memory: Float[Tensor, "B d"],
        dropped: Sequence[Dropped],
    ) -> tuple[Float[Tensor, "B d"], list[Gradients]]:
        """The gradient of a token's embedding, and those in its layers.

        Args:
            layers: query and inner vector, input and middle of each.
            column: of the token's own memory.
        """
        shared = self.shared
        window = len(shared.relative)
        near = self.columns.near(window, column)
        num_near = near.keys.shape[1]
        relative = shared.relative[window - num_near :].permute(1, 2, 0)
        shares = (shared.mix[:, None, None] * for_memory).unbind()
        grad = grad + shares[-1]
        found, seen = [], []
        for layer in reversed(range(len(layers))):
            (query, inner), x, middle = layers[layer]
            weights, masks = self.layers[layer], dropped[layer]
            for_outer = kept(grad, masks.outer)
            for_inner = kept(aten.threshold_backward(for_outer @ weights.outer, inner, 0), masks.inner)
            for_normed_middle = for_inner @ weights.inner
            grad = grad + middle.back(for_normed_middle, weights.norm)
            for_out = kept(grad, masks.attended)
            for_query, for_place, met = self._of_attention(query, for_out @ weights.out, near, relative)
            for_normed = for_query @ weights.query
            grad = grad + x.back(for_normed, shared.norm) + shares[layer]
            seen.append(met)
            found.append(Gradients(for_query, for_place, for_out, for_inner, for_outer, for_normed, for_normed_middle))
        self._gather(
            slice(column - num_near, column), Seen(*(torch.cat(parts, 1) for parts in zip(*seen, strict=True)))
        )
        return grad, found[::-1]

    def _of_attention(
        self, query: Float[Tensor, "B HD"], grad: Float[Tensor, "B HD"], near: Near, relative: Tensor
    ) -> tuple[Tensor, Tensor, Seen]:
        """The query's gradient, the part of it by way of positions, not scaled, and what is left to gather."""
        content, place = queries(query, self.offsets)
        probs = attention(content, place, near, relative)
        grad = grad.view(query.shape[0], *self.shared.u.shape).transpose(0, 1).flatten(0, 1)[:, None]
        for_probs = torch.bmm(grad, near.values.transpose(1, 2))
        for_scores = aten._softmax_backward_data(for_probs, probs, -1, probs.dtype)
        for_place = torch.bmm(for_scores.view(*content.shape[:2], -1), relative.transpose(1, 2))
        scale = place.shape[2] ** -0.5
        by_place = for_place.flatten(0, 1)[:, None]
        for_query = torch.baddbmm(by_place, for_scores, near.keys, beta=scale, alpha=scale).view(place.shape)
        met = Seen(for_scores, content.flatten(0, 1)[:, None], place.flatten(0, 1)[:, None], probs, grad)
        return for_query.transpose(0, 1).flatten(1), for_place.transpose(0, 1).flatten(1), met

    def _gather(self, near: slice, seen: Seen) -> None:
        """What a token's attention in all layers adds to the gradients of keys, values and positions."""
        for_keys, for_values = self.for_both[..., near, :].flatten(1, 2)
        for_keys.baddbmm_(seen.for_scores.transpose(1, 2), seen.content)
        for_values.baddbmm_(seen.probs.transpose(1, 2), seen.for_attended)
        num_heads, num_distances, width = self.for_relative.shape
        num_keys = near.stop - near.start
        place = seen.place.reshape(num_heads, -1, width)
        for_scores = seen.for_scores.reshape(num_heads, place.shape[1], num_keys)
        self.for_relative[:, num_distances - num_keys :].baddbmm_(for_scores.transpose(1, 2), place)

    def of_shared(self) -> SharedWeights:
        """Gradients of the shared weights."""
        shared, found = self.shared, self.found
        norms = (
            self.inputs.weights(found.normed_input),
            self.memories.weights(self.for_keys_values @ shared.keys_values),
        )
        gain, bias = (first + second for first, second in zip(*norms, strict=True))
        by_query, by_place = (grad.flatten(0, 2).sum(0).view_as(shared.u) for grad in (found.query, found.place))
        by_place = by_place * shared.u.shape[1] ** -0.5
        return SharedWeights(
            gain,
            bias,
            _of_matrix(self.for_keys_values, self.memories.affine(shared.norm, shared.norm_bias)),
            torch.einsum("tbd,tlbd->l", self.for_memories, self.levels),
            by_query - by_place,
            by_place,
            self.for_relative.transpose(0, 1),
        )

    def of_layer(self, layer: int) -> LayerWeights:
        """Gradients of a layer's weights."""
        shared, weights = self.shared, self.layers[layer]
        trace, found = Passed(*(x[:, layer] for x in self.trace)), Gradients(*(x[:, layer] for x in self.found))
        inputs, middles = self.inputs.at(slice(None), layer), self.middles.at(slice(None), layer)
        return LayerWeights(
            _of_matrix(found.query, inputs.affine(shared.norm, shared.norm_bias)),
            _of_matrix(found.attended, trace.attended),
            *middles.weights(found.normed_middle),
            _of_matrix(found.inner, middles.affine(weights.norm, weights.norm_bias)),
            found.inner.flatten(0, 1).sum(0),
            _of_matrix(found.outer, trace.inner),
            found.outer.flatten(0, 1).sum(0),
        )


def _of_matrix(grad: Float[Tensor, "T B o"], x: Float[Tensor, "T B i"]) -> Float[Tensor, "o i"]:
    return grad.flatten(0, -2).t() @ x.flatten(0, -2)

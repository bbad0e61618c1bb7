"""Attention layers of the models at one width and their cost by length; each factory gives ``x [1, T, d]`` to the same.

All project queries, keys, values and what was attended to, and have as many heads.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from seqmem.layers.encoder_attention import EncoderAttention
from seqmem.layers.features import EluFeatures, Features, RandomFeatures
from seqmem.layers.global_attention import GlobalWindowAttention
from seqmem.layers.kernel_attention import KernelAttention
from seqmem.layers.low_rank_attention import LowRankAttention, TimeProjection
from seqmem.layers.window import WindowAttention
from seqmem.ops import Ops

WIDTH, HEADS = 256, 4
HEAD_WIDTH = WIDTH // HEADS
WINDOW = 256  # tokens; an encoder's has half of them on each side
NUM_FEATURES, NUM_SLOTS = 256, 256
INIT_STD = 0.02

AttentionLayer = Callable[[Tensor], Tensor]
Factory = Callable[[int, Ops], AttentionLayer]
"""A layer for texts of a length."""


class FullAttention(EncoderAttention):
    """Every token sees all, or all before it, in the fastest way known here: torch's own attention."""

    def attended(self, x: Tensor, valid: Tensor | None, seen: Any) -> Tensor:
        q, k, v = (part.transpose(1, 2) for part in self.projected(x))
        return F.scaled_dot_product_attention(q, k, v, is_causal=seen == "past").transpose(1, 2)


def full(length: int, ops: Ops, seen: str) -> AttentionLayer:
    layer = FullAttention(WIDTH, HEADS, 0.0, ops)
    layer.reset_parameters(INIT_STD)
    return lambda x: layer(x, None, seen)


def full_causal(length: int, ops: Ops) -> AttentionLayer:
    return full(length, ops, "past")


def full_two_sided(length: int, ops: Ops) -> AttentionLayer:
    return full(length, ops, "all")


def window_causal(length: int, ops: Ops) -> AttentionLayer:
    """Of ``longformer-lm``, relative positions included."""
    layer = WindowAttention(WIDTH, HEAD_WIDTH, WINDOW, (1,) * HEADS, 0.0, ops)
    layer.reset_parameters(INIT_STD)
    nothing = torch.empty(1, 0, WIDTH)
    return lambda x: layer(x, nothing, None, layer.relative())[0]


def window_two_sided(length: int, ops: Ops) -> AttentionLayer:
    """Of ``longformer`` without global tokens."""
    layer = GlobalWindowAttention(WIDTH, HEADS, WINDOW // 2, 1, 0.0, ops)
    layer.reset_parameters(INIT_STD)
    return lambda x: layer(x, None)


def kernel(features: Features, ops: Ops) -> AttentionLayer:
    layer = KernelAttention(WIDTH, HEADS, features, ops)
    layer.reset_parameters(INIT_STD)
    return lambda x: layer(x, layer.init_state(len(x)))[0]


def linear_transformer(length: int, ops: Ops) -> AttentionLayer:
    return kernel(EluFeatures(HEAD_WIDTH), ops)


def performer(length: int, ops: Ops) -> AttentionLayer:
    return kernel(RandomFeatures(HEAD_WIDTH, NUM_FEATURES, 0), ops)


def linformer(length: int, ops: Ops) -> AttentionLayer:
    """One projection of time for keys and values."""
    projection = TimeProjection("linear", length, NUM_SLOTS, 1, WIDTH)
    layer = LowRankAttention(WIDTH, HEADS, projection, None, 0.0, ops)
    layer.reset_parameters(INIT_STD)
    projection.reset_parameters()
    return lambda x: layer(x, None)


LAYERS: dict[str, dict[str, Factory]] = {
    "causal": {
        "full attention": full_causal,
        f"window of {WINDOW}": window_causal,
        "linear transformer": linear_transformer,
        f"Performer, {NUM_FEATURES} features": performer,
    },
    "two-sided": {
        "full attention": full_two_sided,
        f"window of {WINDOW}": window_two_sided,
        f"Linformer, {NUM_SLOTS} slots": linformer,
    },
}
"""By who sees whom; the first two are what the others are held to."""

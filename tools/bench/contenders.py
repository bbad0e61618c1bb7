"""Others that compute windowed attention on a CPU; each factory gives a function that returns ``out [B, T, H, D]``."""

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from shapes import Operands, Shape
from torch import Tensor

from seqmem.ops import Band

CHUNKS = (128, 256, 512)
LONGEST_MASK = 16384


class Skip(Exception):
    """Why a contender does not take part."""


Factories = dict[str, Callable[[Operands], Callable[[], Tensor]]]
"""Contenders by name; a factory, or the first call of what it makes, raises where it cannot take part."""


def factories(shape: Shape) -> Factories:
    if shape.op != "attend" or shape.rel:
        return {}  # nobody else has band kernels, or relative positions as an operand
    chunks = {f"sdpa, chunks of {chunk}": partial(sdpa_chunks, chunk=chunk) for chunk in CHUNKS}
    return {"sdpa, mask": sdpa_mask, **chunks, "FlexAttention, compiled": flex, "Longformer, its chunks": longformer}


def sdpa_mask(operands: Operands) -> Callable[[], Tensor]:
    num_tokens = operands.shape.T
    if num_tokens > LONGEST_MASK:
        raise Skip(f"a mask of {num_tokens} x {num_tokens}")
    return sdpa_chunks(operands, num_tokens)


def sdpa_chunks(operands: Operands, chunk: int) -> Callable[[], Tensor]:
    """Scaled dot product attention of every ``chunk`` queries over all keys that any of them sees, masks ready made."""
    band, num_tokens = operands.shape.band, operands.shape.T
    masks: dict[tuple[int, int, int], Tensor] = {}
    parts = []
    for start in range(0, num_tokens, chunk):
        stop = min(start + chunk, num_tokens)
        first, last = max(0, start - band.left * band.dilation), min(num_tokens, stop + band.right * band.dilation)
        key = (stop - start, last - first, start - first)
        if key not in masks:
            seen = band.to_mask(last - start, last - first)[: stop - start]
            masks[key] = torch.zeros(seen.shape).masked_fill_(~seen, -torch.inf)
        parts.append((slice(start, stop), slice(first, last), masks[key]))

    def run() -> Tensor:
        q, k, v = (tensor.transpose(1, 2) for tensor in (operands.q, operands.k, operands.v))
        outs = [
            F.scaled_dot_product_attention(q[:, :, rows], k[:, :, keys], v[:, :, keys], attn_mask=mask)
            for rows, keys, mask in parts
        ]
        return torch.cat(outs, 2).transpose(1, 2)

    return run


_compiled_for: list[Band] = []


def flex(operands: Operands) -> Callable[[], Tensor]:
    """PyTorch's FlexAttention, compiled for this shape; on a CPU it has no backward."""
    from torch.nn.attention.flex_attention import create_block_mask, flex_attention

    band, num_tokens = operands.shape.band, operands.shape.T
    if num_tokens > LONGEST_MASK:
        raise Skip(f"it makes its block mask from one of {num_tokens} x {num_tokens}")

    def seen(_batch: Tensor, _head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        distance = key - query
        near = (distance >= -band.left * band.dilation) & (distance <= band.right * band.dilation)
        return near & (distance % band.dilation == 0)

    if _compiled_for and operands.shape.band not in _compiled_for:
        raise Skip("compiled for a second mask in one process, it corrupts the heap (torch 2.12.1)")
    _compiled_for.append(operands.shape.band)
    blocks = create_block_mask(seen, None, None, num_tokens, num_tokens, device="cpu")
    compiled = torch.compile(flex_attention, dynamic=False)

    def run() -> Tensor:
        q, k, v = (tensor.transpose(1, 2) for tensor in (operands.q, operands.k, operands.v))
        return compiled(q, k, v, block_mask=blocks).transpose(1, 2)

    return run


def longformer(operands: Operands) -> Callable[[], Tensor]:
    """Hugging Face's Longformer: its two chunked products with a softmax between, its projections left out."""
    shape = operands.shape
    if not shape.two_sided or shape.dilation > 1 or shape.T % shape.W:
        raise Skip("it takes two-sided windows without dilation, and lengths divisible by the window")
    try:
        from transformers import LongformerConfig
        from transformers.models.longformer.modeling_longformer import LongformerSelfAttention
    except ImportError:
        raise Skip("transformers is not installed here; add --peers") from None
    size = dict(hidden_size=shape.H * shape.D, num_attention_heads=shape.H)
    layer = LongformerSelfAttention(LongformerConfig(attention_window=[shape.W], **size), layer_id=0)
    one_side = shape.W // 2

    def run() -> Tensor:
        q = operands.q * shape.D**-0.5
        probs = layer._sliding_chunks_query_key_matmul(q, operands.k, one_side).softmax(-1)
        return layer._sliding_chunks_matmul_attn_probs_value(probs, operands.v, one_side)

    return run

"""The plain causal transformer (Vaswani et al. 2017), a control without memory."""

from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from seqmem.layers.positions import sinusoid
from seqmem.models.segmented import SegmentedTransformer
from seqmem.models.segmented_config import SegmentedConfig
from seqmem.ops import Ops


class TransformerConfig(SegmentedConfig):
    """Configuration of :class:`Transformer`; ``segment_len`` is its context."""


class Transformer(SegmentedTransformer):
    """Full causal attention within each segment and nothing beyond; sinusoidal positions added to the embedding.

    Post-LN as published (pre-LN an option). As a control it shares Transformer-XL's blocks, tied softmax and
    initialisation, so that memory and relative positions are all that differs.
    """

    Config: ClassVar = TransformerConfig
    SIZES: ClassVar[dict[str, dict]] = {
        "tiny": dict(vocab_size=256, num_layers=2, d_model=32, num_heads=2, head_dim=16, d_inner=64, segment_len=32),
        "small": dict(
            vocab_size=8192,
            num_layers=6,
            d_model=256,
            num_heads=4,
            head_dim=64,
            d_inner=1024,
            dropout=0.1,
            segment_len=512,
        ),
    }

    config: TransformerConfig

    def __init__(self, config: TransformerConfig, ops: Ops):
        super().__init__(config, ops)
        self.reset_parameters()

    def embed(self, inputs: Int[Tensor, "B T"], offset: int) -> Float[Tensor, "B T d"]:
        vectors = self.head.embed(inputs)
        position = torch.arange(offset, offset + inputs.shape[1], dtype=vectors.dtype, device=vectors.device)
        return self.dropout(vectors + sinusoid(position, self.config.d_model))

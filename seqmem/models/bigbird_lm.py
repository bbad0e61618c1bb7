"""A causal decoder with BigBird's pattern, which is ours: the paper has encoders only."""

from typing import ClassVar

import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor, nn

from seqmem.layers.block_attention import BlockAttention, causal_bigbird_layout
from seqmem.layers.feed_forward import feed_forward
from seqmem.layers.residual import MixerBlock
from seqmem.models.base import ModelConfig
from seqmem.models.windowed import ContextConfig, WindowedTransformer
from seqmem.ops import Ops


class BigBirdLMConfig(ContextConfig):
    """Configuration of :class:`BigBirdLM`; ``segment_len`` is its context."""

    block_size: int = Field(64, gt=0, description="tokens of a block")
    num_random_blocks: int = Field(
        3, ge=0, description="that every block sees besides its own, its neighbour, the first"
    )
    layout_seed: int = Field(0, ge=0, description="of the random blocks, which differ by head and layer")


class BigBirdLM(WindowedTransformer):
    """BigBird (Zaheer et al. 2020, arXiv 2007.14062) turned into a language model by leaving out the future.

    The published encoder sees three neighbouring blocks, the first and the last one, and random ones; its first and
    last blocks see everything. Here a token sees of its own block what lies before it, the block before, the first
    block, and random blocks of the past. Post-LN, GELU and learned positions as in the paper.
    """

    Config: ClassVar[type[ModelConfig]] = BigBirdLMConfig
    # Published, of the encoder: the base model's layers, widths, block size, random blocks and length.
    SIZES: ClassVar[dict[str, dict]] = {
        "tiny": dict(
            vocab_size=256,
            num_layers=2,
            d_model=32,
            num_heads=2,
            head_dim=16,
            d_inner=64,
            segment_len=40,
            block_size=3,
            num_random_blocks=2,
        ),
        "base": dict(
            vocab_size=50358,
            num_layers=12,
            d_model=768,
            num_heads=12,
            head_dim=64,
            d_inner=3072,
            dropout=0.1,
            segment_len=4096,
        ),
        # Ours: as many parameters as the other models' size of that name.
        "bytes-cpu": dict(
            vocab_size=257,
            num_layers=4,
            d_model=128,
            num_heads=4,
            head_dim=32,
            d_inner=672,
            segment_len=256,
            block_size=32,
            num_random_blocks=2,
        ),
    }

    config: BigBirdLMConfig

    def __init__(self, config: BigBirdLMConfig, ops: Ops):
        super().__init__(config, ops)
        self.positions = nn.Embedding(config.segment_len, config.d_model)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        super().reset_parameters()
        nn.init.normal_(self.positions.weight, 0, self.config.init_std)

    def block(self, layer: int) -> MixerBlock:
        c = self.config
        layout = causal_bigbird_layout(
            c.num_heads, -(-c.segment_len // c.block_size), c.num_random_blocks, c.layout_seed + layer
        )
        attention = BlockAttention(
            c.d_model, c.num_heads, c.head_dim, layout, c.block_size, c.attention_dropout, self.ops
        )
        return MixerBlock(
            attention, feed_forward(c.d_model, c.d_inner, c.dropout, nn.GELU), c.d_model, c.dropout, pre_norm=False
        )

    def embed(self, inputs: Int[Tensor, "B T"], position: int) -> Float[Tensor, "B T d"]:
        start = position % self.config.segment_len
        at = torch.arange(start, start + inputs.shape[1], device=inputs.device)
        return super().embed(inputs, position) + self.positions(at)

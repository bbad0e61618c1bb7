"""BigBird, the encoder (Zaheer et al. 2020, arXiv 2007.14062)."""

from typing import ClassVar, Literal

import torch
from jaxtyping import Bool, Float, Int
from pydantic import Field
from torch import Tensor

from seqmem.errors import SeqmemError
from seqmem.layers.bigbird_attention import BigBirdAttention, full_blocks
from seqmem.models.encoder import EncoderConfig
from seqmem.models.post_norm_encoder import PostNormEncoder, PostNormEncoderConfig


class BigBirdConfig(PostNormEncoderConfig):
    """Configuration of :class:`BigBird`; nothing about blocks changes any weight."""

    num_types: int = Field(2, gt=0, description="kinds of tokens")
    norm_eps: float = Field(1e-12, gt=0)
    block_size: int = Field(64, gt=0, description="tokens of a block")
    num_random_blocks: int = Field(3, ge=0, description="that a block sees besides its neighbours, the first, the last")
    layout: Literal["drawn", "hugging-face"] = Field(
        "drawn", description="drawn for each text alone, or as Hugging Face's BigBird has it outside training"
    )
    layout_seed: int = Field(0, ge=0, description="of the random blocks, which differ by head and layer")


class BigBird(PostNormEncoder):
    """BERT whose tokens see neighbouring blocks, the first and the last block, and random blocks.

    A text of up to ``5 + 2 num_random_blocks`` blocks has full attention, as in the published code. It may end anywhere
    in a block. Blocks and positions are counted from the first position on, so padding belongs at the end.

    A text's last block is where its last token is, and random blocks are drawn for as many blocks as it has. Texts of a
    batch that differ in that go through the layers one after the other, so no text depends on the others' lengths.

    The layout ``hugging-face`` is what Hugging Face's BigBird (transformers 4.30.2) computes outside training, for
    weights from there. It takes the last block of the padded batch for the last one of every text, and the padded
    length to tell short texts from long ones. It draws nothing: every random block is the first one, whose keys so
    count ``1 + num_random_blocks`` times for all queries but those of the first and the last block.
    """

    GELU: ClassVar[str] = "tanh"

    Config: ClassVar[type[EncoderConfig]] = BigBirdConfig
    # Published: base and large.
    SIZES: ClassVar[dict[str, dict]] = {
        "tiny": dict(
            vocab_size=256,
            max_len=64,
            num_layers=2,
            d_model=32,
            num_heads=2,
            d_inner=64,
            block_size=3,
            num_random_blocks=1,
        ),
        "base": dict(vocab_size=50358, max_len=4096, num_layers=12, d_model=768, num_heads=12, d_inner=3072),
        "large": dict(vocab_size=50358, max_len=4096, num_layers=24, d_model=1024, num_heads=16, d_inner=4096),
    }

    config: BigBirdConfig

    def attention(self, layer: int) -> BigBirdAttention:
        c = self.config
        seed = c.layout_seed + layer if c.layout == "drawn" else None
        return BigBirdAttention(
            c.d_model, c.num_heads, c.block_size, c.num_random_blocks, seed, c.attention_dropout, self.ops
        )

    def positions_of(self, inputs: Int[Tensor, "B T"], valid: Bool[Tensor, "B T"] | None) -> Int[Tensor, "#B T"]:
        return torch.arange(inputs.shape[1], device=inputs.device)[None]

    def normed(self, x: Float[Tensor, "B T d"]) -> Float[Tensor, "B T d"]:
        """Dropout and then norm of the embedding, as in the published code."""
        return self.embedding_norm(self.dropout(x))

    def encoded(
        self, x: Float[Tensor, "B T d"], valid: Bool[Tensor, "B T"] | None, global_mask: Bool[Tensor, "B T"] | None
    ) -> Float[Tensor, "B T d"]:
        """Hidden states; 0 in the blocks after a text's last one.

        Raises:
            SeqmemError: a global mask.
        """
        if global_mask is not None:
            raise SeqmemError("global_mask: BigBird's global tokens are its first and last block; leave it out")
        if valid is None or self.config.layout == "hugging-face":
            return self.through_blocks(x, valid)
        hidden = torch.zeros_like(x)
        for length, rows in self._by_length(valid).items():
            hidden[rows, :length] = self.through_blocks(x[rows, :length], valid[rows, :length])
        return hidden

    def _by_length(self, valid: Bool[Tensor, "B T"]) -> dict[int, list[int]]:
        """Rows by length in tokens of whole blocks; short texts together."""
        size = self.config.block_size
        last = (valid * torch.arange(1, valid.shape[1] + 1, device=valid.device)).amax(1)
        num_blocks = (-(-last // size)).clamp(min=full_blocks(self.config.num_random_blocks))
        rows: dict[int, list[int]] = {}
        for row, number in enumerate(num_blocks.tolist()):
            rows.setdefault(number * size, []).append(row)
        return rows

"""Longformer's autoregressive language model (Beltagy et al. 2020, arXiv 2004.05150, section 4)."""

from typing import ClassVar

from jaxtyping import Float
from pydantic import Field, model_validator
from torch import Tensor, nn

from seqmem.layers.feed_forward import feed_forward
from seqmem.layers.residual import MixerBlock
from seqmem.layers.window import WindowAttention
from seqmem.models.base import ModelConfig
from seqmem.models.per_layer import Ranges, per_layer
from seqmem.models.windowed import AttentiveConfig, WindowedTransformer
from seqmem.ops import Ops


class LongformerLMConfig(AttentiveConfig):
    """Configuration of :class:`LongformerLM`; no window or length changes any weight."""

    window: Ranges = Field(description="tokens that a token sees, itself included, in every layer or in each")
    dilation: Ranges = Field(1, description="of the dilated heads, in every layer or in each; 1 for neighbours")
    dilated_heads: int = Field(2, ge=0, description="the last heads of a layer")

    @model_validator(mode="after")
    def _heads_and_layers_fit(self):
        for name in ("window", "dilation"):
            if min(per_layer(getattr(self, name), self.num_layers, name)) < 1:
                raise ValueError(f"{name} has no limit in some layer; give positive numbers")
        if self.dilated_heads > self.num_heads:
            raise ValueError(f"dilated_heads = {self.dilated_heads} of {self.num_heads} heads; give at most as many")
        return self

    @property
    def windows(self) -> tuple[int, ...]:
        """Of each layer."""
        return per_layer(self.window, self.num_layers, "window")

    def dilations(self, layer: int) -> tuple[int, ...]:
        """Of each head of a layer."""
        dilated = per_layer(self.dilation, self.num_layers, "dilation")[layer]
        return (1,) * (self.num_heads - self.dilated_heads) + (dilated,) * self.dilated_heads

    @property
    def reaches(self) -> tuple[int, ...]:
        """Tokens before a token that each layer sees or steps over."""
        return tuple((window - 1) * max(self.dilations(layer)) for layer, window in enumerate(self.windows))

    @property
    def turnover(self) -> int:
        return sum(self.reaches) + 1 if self.carry else self.segment_len


class LongformerLM(WindowedTransformer):
    """Windows that grow with depth, dilated on two heads of the upper layers; relative positions; pre-LN; GELU.

    The code of the paper's language model was never released. It began from Transformer-XL's with the memory off:
    ``carry = false`` trains and evaluates so, every segment empty at its start. By default windows reach across calls,
    which costs nothing and is what a stream wants.

    Where the paper is silent: a dilation printed as g stands for g tokens left out between two that are seen, which is
    ``dilation = g + 1`` here; windows of the layers between the first and the last double in steps, so that their mean
    is the 230 tokens of the paper's ablation; the dilated heads are the last two.
    """

    Config: ClassVar[type[ModelConfig]] = LongformerLMConfig
    # Published: layers, widths, heads, dropout, weights, lengths and the windows of phase 1's first and last layer.
    SIZES: ClassVar[dict[str, dict]] = {
        "tiny": dict(
            vocab_size=256,
            num_layers=2,
            d_model=32,
            num_heads=2,
            head_dim=16,
            d_inner=64,
            segment_len=16,
            window=(4, 8),
            dilation=(1, 2),
            dilated_heads=1,
        ),
        "enwik8-small": dict(
            vocab_size=205,
            num_layers=12,
            d_model=512,
            num_heads=8,
            head_dim=64,
            d_inner=2048,
            dropout=0.2,
            segment_len=2048,
            window=(32, 32, 64, 64, 128, 128, 256, 256, 256, 512, 512, 512),
            dilation=(1, 1, 1, 1, 1, 1, 2, 2, 3, 3, 4, 4),
            carry=False,
        ),
        "enwik8-large": dict(
            vocab_size=205,
            num_layers=30,
            d_model=512,
            num_heads=8,
            head_dim=64,
            d_inner=2048,
            dropout=0.4,
            segment_len=2048,
            window=(32,) * 5 + (64,) * 5 + (128,) * 5 + (256,) * 8 + (512,) * 7,
            dilation=(1,) * 15 + (2,) * 5 + (3,) * 5 + (4,) * 5,
            carry=False,
        ),
        # Ours: as many parameters as the other models' size of that name.
        "bytes-cpu": dict(
            vocab_size=257,
            num_layers=4,
            d_model=128,
            num_heads=4,
            head_dim=32,
            d_inner=640,
            segment_len=256,
            window=(32, 64, 128, 256),
            dilation=(1, 1, 2, 2),
        ),
    }
    SIZES["text8-small"] = SIZES["enwik8-small"] | dict(vocab_size=27)
    SIZES["text8-large"] = SIZES["enwik8-large"] | dict(vocab_size=27)

    config: LongformerLMConfig

    def __init__(self, config: LongformerLMConfig, ops: Ops):
        super().__init__(config, ops)
        self.reset_parameters()

    def block(self, layer: int) -> MixerBlock:
        c = self.config
        attention = WindowAttention(
            c.d_model, c.head_dim, c.windows[layer], c.dilations(layer), c.attention_dropout, self.ops
        )
        return MixerBlock(
            attention, feed_forward(c.d_model, c.d_inner, c.dropout, nn.GELU), c.d_model, c.dropout, pre_norm=True
        )

    def relative(self, layer: int) -> Float[Tensor, "C H D"]:
        """``W_r R`` of the distances that each head sees."""
        attention = self.blocks[layer].mixer
        assert isinstance(attention, WindowAttention)
        return attention.relative()

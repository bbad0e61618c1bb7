"""Language models of lightweight and dynamic convolutions (Wu et al. 2019, arXiv 1901.10430)."""

from typing import ClassVar

from pydantic import Field, model_validator

from seqmem.layers.feed_forward import feed_forward
from seqmem.layers.light_conv import LightConvolution
from seqmem.layers.residual import MixerBlock
from seqmem.models.base import ModelConfig
from seqmem.models.per_layer import Ranges, per_layer
from seqmem.models.windowed import WindowedConfig, WindowedTransformer
from seqmem.ops import Ops


class LightConvConfig(WindowedConfig):
    """Configuration of :class:`LightConv`."""

    kernel_size: Ranges = Field(description="taps, the present's included, in every layer or in each")
    dynamic: bool = Field(False, description="taps computed from the present token")
    weight_dropout: float = Field(0.1, ge=0, lt=1, description="of softmaxed taps")

    @model_validator(mode="after")
    def _heads_and_layers_fit(self):
        if min(per_layer(self.kernel_size, self.num_layers, "kernel_size")) < 1:
            raise ValueError("kernel_size has no limit in some layer; give positive numbers")
        if self.d_model % self.num_heads:
            raise ValueError(f"d_model = {self.d_model} is not a multiple of num_heads = {self.num_heads}")
        return self

    @property
    def kernel_sizes(self) -> tuple[int, ...]:
        """Of each layer."""
        return per_layer(self.kernel_size, self.num_layers, "kernel_size")

    @property
    def turnover(self) -> int:
        return sum(self.kernel_sizes) - self.num_layers + 1 if self.carry else self.segment_len


class LightConv(WindowedTransformer):
    """Attention replaced by convolutions whose taps are a softmax: lightweight, or dynamic with ``dynamic = true``.

    Post-LN and ReLU as in the paper's decoder, whose kernel sizes and heads the sizes here have; without its attention
    to a source sentence, and without added positions, which convolutions do not need.
    """

    Config: ClassVar[type[ModelConfig]] = LightConvConfig
    SIZES: ClassVar[dict[str, dict]] = {
        "tiny": dict(
            vocab_size=256, num_layers=2, d_model=32, num_heads=4, d_inner=64, segment_len=16, kernel_size=(3, 6)
        ),
        "small": dict(
            vocab_size=8192,
            num_layers=6,
            d_model=256,
            num_heads=8,
            d_inner=1024,
            dropout=0.1,
            segment_len=256,
            kernel_size=(3, 7, 15, 31, 31, 31),
        ),
        # Ours: as many parameters as the other models' size of that name.
        "bytes-cpu": dict(
            vocab_size=257,
            num_layers=4,
            d_model=128,
            num_heads=4,
            d_inner=640,
            segment_len=256,
            kernel_size=(15, 31, 63, 127),
            dynamic=True,
            weight_dropout=0.0,
        ),
    }

    config: LightConvConfig

    def __init__(self, config: LightConvConfig, ops: Ops):
        super().__init__(config, ops)
        self.reset_parameters()

    def block(self, layer: int) -> MixerBlock:
        c = self.config
        convolution = LightConvolution(
            c.d_model, c.num_heads, c.kernel_sizes[layer], c.dynamic, c.weight_dropout, self.ops
        )
        return MixerBlock(convolution, feed_forward(c.d_model, c.d_inner, c.dropout), c.d_model, c.dropout, False)

"""Titans (Behrouz, Zhong and Mirrokni 2025, arXiv 2501.00663): memory alone, and with attention."""

import math
from typing import ClassVar

from pydantic import Field, model_validator
from torch import nn

from seqmem.layers.feed_forward import feed_forward
from seqmem.layers.neural_memory import MemoryConfig, NeuralMemory
from seqmem.layers.titans import GateMixer, LayerMixer, MemoryMixer, TitansMixer, WindowMixer
from seqmem.layers.titans_attention import TitansAttention
from seqmem.layers.titans_context import ContextMixer, SegmentMixer
from seqmem.layers.titans_window import SlidingWindow
from seqmem.models.base import ModelConfig
from seqmem.models.mixing import MixingBlock, MixingConfig, MixingTransformer
from seqmem.ops import Ops


class TitansConfig(MixingConfig):
    """Configuration of memory alone, and base of the others'."""

    num_persistent: int = Field(4, ge=0, description="learned vectors that stand before every sequence")
    memory: MemoryConfig = Field(default_factory=lambda: MemoryConfig())

    @model_validator(mode="after")
    def _heads_fit(self):
        if self.d_model % self.memory.num_heads:
            raise ValueError(
                f"d_model = {self.d_model} is not a multiple of memory.num_heads = {self.memory.num_heads}"
            )
        return self

    @property
    def period(self) -> int:
        return math.lcm(self.segment_len, self.memory.chunk_len)

    @property
    def memory_note(self) -> str:
        return f"weights of {self.memory.depth} layers that learn"


class AttentiveTitansConfig(TitansConfig):
    """Base of configurations with attention."""

    num_heads: int = Field(gt=0)
    head_dim: int = Field(gt=0)
    attention_dropout: float = Field(0.0, ge=0, lt=1)
    memory_layers: tuple[int, ...] | None = Field(None, description="layers with a memory, from 1; all when absent")

    @model_validator(mode="after")
    def _layers_exist(self):
        wrong = [layer for layer in self.memory_layers or () if not 1 <= layer <= self.num_layers]
        if wrong:
            raise ValueError(f"memory_layers names layer {wrong[0]} of {self.num_layers}; they are counted from 1")
        return self

    def has_memory(self, layer: int) -> bool:
        """Whether a layer, counted from 0, has a memory."""
        return self.memory_layers is None or layer + 1 in self.memory_layers


class MemoryAsContextConfig(AttentiveTitansConfig):
    """Configuration of :class:`MemoryAsContext`; attention stays within segments of ``segment_len``."""


class WindowedTitansConfig(AttentiveTitansConfig):
    """Base of configurations whose attention has a window."""

    window: int = Field(gt=0, description="tokens that a token sees, itself included")


class MemoryAsGateConfig(WindowedTitansConfig):
    """Configuration of :class:`MemoryAsGate`."""


class MemoryAsLayerConfig(WindowedTitansConfig):
    """Configuration of :class:`MemoryAsLayer`."""


class Titans(MixingTransformer):
    """Blocks with memories; subclasses say how memory and attention are joined.

    The paper leaves open: RMSNorm before every branch; feed-forward layers with SiLU; relative positions in attention
    are Transformer-XL's; dropout. A stream's memory begins at learned weights, which learn from a stream's first call.
    """

    config: TitansConfig

    def mixer(self, layer: int) -> TitansMixer:
        """A layer's mixer."""
        raise NotImplementedError

    def memory(self) -> NeuralMemory:
        """A long-term memory."""
        return NeuralMemory(self.config.d_model, self.config.memory, self.ops)

    def block(self, layer: int) -> MixingBlock:
        c = self.config
        inner = feed_forward(c.d_model, c.d_inner, c.dropout, nn.SiLU)
        return MixingBlock(self.mixer(layer), inner, nn.RMSNorm, c.d_model, c.dropout)


def attention(config: AttentiveTitansConfig, window: int, ops: Ops) -> TitansAttention:
    """Attention of a layer to ``window`` tokens."""
    return TitansAttention(
        config.d_model, config.head_dim, window, (1,) * config.num_heads, config.attention_dropout, ops
    )


_TINY = dict(
    vocab_size=256,
    num_layers=2,
    d_model=32,
    d_inner=64,
    segment_len=16,
    num_persistent=3,
    memory=dict(chunk_len=4, expansion=2.0),
)
_TINY_ATTENTION = _TINY | dict(num_heads=2, head_dim=16)
# As many parameters as the other models' size of that name.
_BYTES = dict(vocab_size=257, num_layers=4, d_model=128, segment_len=256, memory=dict(expansion=1.0))
_BYTES_ATTENTION = _BYTES | dict(num_heads=4, head_dim=32, memory_layers=(2, 4))


class LongTermMemory(Titans):
    """Memory alone (LMM): a network that learns while it reads takes the place of attention."""

    Config: ClassVar[type[ModelConfig]] = TitansConfig
    SIZES: ClassVar[dict[str, dict]] = {"tiny": _TINY, "bytes-cpu": _BYTES | dict(d_inner=504)}

    def mixer(self, layer: int) -> TitansMixer:
        return MemoryMixer(self.config.d_model, self.config.num_persistent, self.memory())


class MemoryAsContext(Titans):
    """MAC: segments see what memory knew when they began, and memory takes in what they made of it."""

    Config: ClassVar[type[ModelConfig]] = MemoryAsContextConfig
    SIZES: ClassVar[dict[str, dict]] = {
        "tiny": _TINY_ATTENTION,
        "bytes-cpu": _BYTES_ATTENTION | dict(d_inner=376, segment_len=128),
    }

    config: MemoryAsContextConfig

    def mixer(self, layer: int) -> TitansMixer:
        c = self.config
        vectors, seen = (c.d_model, c.num_persistent), attention(c, c.segment_len, self.ops)
        if not c.has_memory(layer):
            return SegmentMixer(*vectors, seen)
        return ContextMixer(*vectors, seen, self.memory(), self.ops)


class MemoryAsGate(Titans):
    """MAG: a window and the memory see the same tokens, and one gates the other."""

    Config: ClassVar[type[ModelConfig]] = MemoryAsGateConfig
    SIZES: ClassVar[dict[str, dict]] = {
        "tiny": _TINY_ATTENTION | dict(window=8),
        "bytes-cpu": _BYTES_ATTENTION | dict(d_inner=408, window=128),
    }

    config: MemoryAsGateConfig

    def mixer(self, layer: int) -> TitansMixer:
        c = self.config
        vectors, seen = (c.d_model, c.num_persistent), SlidingWindow(attention(c, c.window, self.ops))
        return GateMixer(*vectors, seen, self.memory()) if c.has_memory(layer) else WindowMixer(*vectors, seen)


class MemoryAsLayer(Titans):
    """MAL: a window over what the memory makes of the tokens."""

    Config: ClassVar[type[ModelConfig]] = MemoryAsLayerConfig
    SIZES: ClassVar[dict[str, dict]] = {
        "tiny": _TINY_ATTENTION | dict(window=8),
        "bytes-cpu": _BYTES_ATTENTION | dict(d_inner=408, window=128),
    }

    config: MemoryAsLayerConfig

    def mixer(self, layer: int) -> TitansMixer:
        c = self.config
        vectors, seen = (c.d_model, c.num_persistent), SlidingWindow(attention(c, c.window, self.ops))
        return LayerMixer(*vectors, seen, self.memory()) if c.has_memory(layer) else WindowMixer(*vectors, seen)

"""Titans (Behrouz, Zhong and Mirrokni 2025, arXiv 2501.00663): memory alone, and with attention."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import torch
from jaxtyping import Float, Int
from pydantic import Field, model_validator
from torch import Tensor, nn

from seqmem.errors import SeqmemError
from seqmem.layers.feed_forward import feed_forward
from seqmem.layers.neural_memory import MemoryConfig, NeuralMemory
from seqmem.layers.titans import GateMixer, LayerMixer, MemoryMixer, TitansMixer, WindowMixer
from seqmem.layers.titans_attention import TitansAttention
from seqmem.layers.titans_context import ContextMixer, SegmentMixer
from seqmem.layers.vocabulary import TiedSoftmax
from seqmem.models.base import CausalModel, ModelConfig, Output
from seqmem.ops import Ops
from seqmem.state import State


class TitansConfig(ModelConfig):
    """Configuration of memory alone, and base of the others'."""

    num_layers: int = Field(gt=0)
    d_model: int = Field(gt=0)
    d_inner: int = Field(gt=0)
    dropout: float = Field(0.0, ge=0, lt=1)
    num_persistent: int = Field(4, ge=0, description="learned vectors that stand before every sequence")
    memory: MemoryConfig = Field(default_factory=lambda: MemoryConfig())
    init_std: float = Field(0.02, gt=0)

    @model_validator(mode="after")
    def _heads_fit(self):
        if self.d_model % self.memory.num_heads:
            raise ValueError(
                f"d_model = {self.d_model} is not a multiple of memory.num_heads = {self.memory.num_heads}"
            )
        return self

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


@dataclass(frozen=True)
class TitansState(State):
    """States of the layers, and how many tokens were seen."""

    layers: tuple[Any, ...]
    position: int


class TitansBlock(nn.Module):
    """``x + mixer(RMSNorm(x))``, then ``x + feed-forward(RMSNorm(x))``."""

    def __init__(self, mixer: TitansMixer, feed_forward: nn.Module, d_model: int, dropout: float):
        super().__init__()
        self.mixer, self.feed_forward = mixer, feed_forward
        self.mixer_norm, self.feed_forward_norm = nn.RMSNorm(d_model), nn.RMSNorm(d_model)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Float[Tensor, "B T d"], state: Any, relative: Tensor) -> tuple[Float[Tensor, "B T d"], Any]:
        mixed, state = self.mixer(self.mixer_norm(x), state, relative)
        x = x + self.dropout(mixed)
        return x + self.feed_forward(self.feed_forward_norm(x)), state


class Titans(CausalModel):
    """Blocks, vocabulary and memories; subclasses say how memory and attention are joined.

    The paper leaves open: RMSNorm before every branch; feed-forward layers with SiLU; relative positions in attention
    are Transformer-XL's; dropout. A stream's memory begins at learned weights, which learn from a stream's first call.
    """

    config: TitansConfig
    head: TiedSoftmax
    blocks: nn.ModuleList

    def __init__(self, config: TitansConfig, ops: Ops):
        super().__init__()
        self.config = config
        self.ops = ops
        self.head = TiedSoftmax(config.vocab_size, config.d_model)
        self.blocks = nn.ModuleList(self._block(layer) for layer in range(config.num_layers))
        self.final_norm = nn.RMSNorm(config.d_model)
        self.dropout = nn.Dropout(config.dropout)
        self.reset_parameters()

    def mixer(self, layer: int) -> TitansMixer:
        """A layer's mixer."""
        raise NotImplementedError

    def memory(self) -> NeuralMemory:
        """A long-term memory."""
        return NeuralMemory(self.config.d_model, self.config.memory, self.ops)

    def _block(self, layer: int) -> TitansBlock:
        c = self.config
        return TitansBlock(
            self.mixer(layer), feed_forward(c.d_model, c.d_inner, c.dropout, nn.SiLU), c.d_model, c.dropout
        )

    def _blocks(self) -> Iterator[TitansBlock]:
        return cast(Iterator[TitansBlock], iter(self.blocks))

    def reset_parameters(self) -> None:
        """Weights N(0, std), biases 0; memories as they have it."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, 0, self.config.init_std)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        for block in self._blocks():
            block.mixer.reset_parameters(self.config.init_std)
        self.head.reset_parameters(self.config.init_std)

    def init_state(self, batch_size: int) -> TitansState:
        return TitansState(tuple(block.mixer.init_state(batch_size) for block in self._blocks()), 0)

    @torch.no_grad()
    def generation_state(self, state: State) -> TitansState:
        """Keys and values instead of inputs, so that a step projects one token; valid for fixed weights."""
        assert isinstance(state, TitansState)
        layers = zip(self._blocks(), state.layers, strict=True)
        return TitansState(tuple(block.mixer.generation_state(layer) for block, layer in layers), state.position)

    def forward(self, inputs: Int[Tensor, "B T"], state: State | None = None) -> Output:
        """Hidden states of the last layer ``[B, T, d]``, position t for token t + 1, and the state after the call.

        Raises:
            SeqmemError: a memory's weights are no longer finite.
        """
        state = self.init_state(inputs.shape[0]) if state is None else state
        assert isinstance(state, TitansState)
        x = self.dropout(self.head.embed(inputs))
        layers = []
        for block, before in zip(self._blocks(), state.layers, strict=True):
            x, after = block(x, before, block.mixer.relative())
            layers.append(after)
        state = TitansState(tuple(layers), state.position + inputs.shape[1])
        self._check(state)
        return Output(self.dropout(self.final_norm(x)), state)

    @torch.no_grad()
    def _check(self, state: TitansState) -> None:
        """Refuse to go on with a memory that has run away."""
        if torch.compiler.is_compiling():
            return
        for layer, (block, carried) in enumerate(zip(self._blocks(), state.layers, strict=True)):
            memory = block.mixer.memory_of(carried)
            if memory is not None and not all(weight.sum().isfinite() for weight in memory.fast.weights):
                raise SeqmemError(
                    f"the memory of layer {layer + 1} is no longer finite after token {state.position}: its steps were "
                    f"too long; lower model.memory.max_step ({self.config.memory.max_step:g}) or train.lr"
                )


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


class LongTermMemory(Titans):
    """Memory alone (LMM): a network that learns while it reads takes the place of attention."""

    Config: ClassVar[type[ModelConfig]] = TitansConfig
    SIZES: ClassVar[dict[str, dict]] = {"tiny": _TINY}

    def mixer(self, layer: int) -> TitansMixer:
        return MemoryMixer(self.config.d_model, self.config.num_persistent, self.memory())


class MemoryAsContext(Titans):
    """MAC: segments see what memory knew when they began, and memory takes in what they made of it."""

    Config: ClassVar[type[ModelConfig]] = MemoryAsContextConfig
    SIZES: ClassVar[dict[str, dict]] = {"tiny": _TINY_ATTENTION}

    config: MemoryAsContextConfig

    def mixer(self, layer: int) -> TitansMixer:
        c = self.config
        vectors, seen = (c.d_model, c.num_persistent), attention(c, c.segment_len, self.ops)
        if not c.has_memory(layer):
            return SegmentMixer(*vectors, seen)
        return ContextMixer(*vectors, seen, self.memory(), c.memory.kernel_size, self.ops)


class MemoryAsGate(Titans):
    """MAG: a window and the memory see the same tokens, and one gates the other."""

    Config: ClassVar[type[ModelConfig]] = MemoryAsGateConfig
    SIZES: ClassVar[dict[str, dict]] = {"tiny": _TINY_ATTENTION | dict(window=8)}

    config: MemoryAsGateConfig

    def mixer(self, layer: int) -> TitansMixer:
        c = self.config
        vectors, seen = (c.d_model, c.num_persistent), attention(c, c.window, self.ops)
        return GateMixer(*vectors, seen, self.memory()) if c.has_memory(layer) else WindowMixer(*vectors, seen)


class MemoryAsLayer(Titans):
    """MAL: a window over what the memory makes of the tokens."""

    Config: ClassVar[type[ModelConfig]] = MemoryAsLayerConfig
    SIZES: ClassVar[dict[str, dict]] = {"tiny": _TINY_ATTENTION | dict(window=8)}

    config: MemoryAsLayerConfig

    def mixer(self, layer: int) -> TitansMixer:
        c = self.config
        vectors, seen = (c.d_model, c.num_persistent), attention(c, c.window, self.ops)
        return LayerMixer(*vectors, seen, self.memory()) if c.has_memory(layer) else WindowMixer(*vectors, seen)

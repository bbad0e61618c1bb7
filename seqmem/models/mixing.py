"""Causal transformers of blocks whose mixers carry a state of their own, in calls of any length."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor, nn
from torch._subclasses.fake_tensor import is_fake

from seqmem.errors import SeqmemError
from seqmem.layers.mixer import Mixer
from seqmem.layers.vocabulary import TiedSoftmax
from seqmem.models.base import CausalModel, ModelConfig, Output
from seqmem.ops import Ops
from seqmem.state import State


class MixingConfig(ModelConfig):
    """Base of their configurations."""

    num_layers: int = Field(gt=0)
    d_model: int = Field(gt=0)
    d_inner: int = Field(gt=0)
    dropout: float = Field(0.0, ge=0, lt=1)
    init_std: float = Field(0.02, gt=0)


@dataclass(frozen=True)
class MixingState(State):
    """States of the layers' mixers, and how many tokens were seen."""

    layers: tuple[Any, ...]
    position: int


class MixingBlock(nn.Module):
    """``x + mixer(norm(x))``, then ``x + feed_forward(norm(x))``.

    Args:
        norm: makes the norms, :class:`torch.nn.LayerNorm` or :class:`torch.nn.RMSNorm`.
    """

    def __init__(
        self, mixer: Mixer, feed_forward: nn.Module, norm: type[nn.LayerNorm | nn.RMSNorm], d_model: int, dropout: float
    ) -> None:
        super().__init__()
        self.mixer, self.feed_forward = mixer, feed_forward
        self.mixer_norm, self.feed_forward_norm = norm(d_model), norm(d_model)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Float[Tensor, "B T d"], state: Any) -> tuple[Float[Tensor, "B T d"], Any]:
        mixed, state = self.mixer(self.mixer_norm(x), state)
        x = x + self.dropout(mixed)
        return x + self.feed_forward(self.feed_forward_norm(x)), state


class MixingTransformer(CausalModel):
    """Blocks, vocabulary and states; subclasses say what a block is."""

    config: MixingConfig
    head: TiedSoftmax
    blocks: nn.ModuleList

    def __init__(self, config: MixingConfig, ops: Ops):
        super().__init__()
        self.config = config
        self.ops = ops
        self.head = TiedSoftmax(config.vocab_size, config.d_model)
        self.blocks = nn.ModuleList(self.block(layer) for layer in range(config.num_layers))
        self.final_norm = type(next(self._blocks()).mixer_norm)(config.d_model)
        self.dropout = nn.Dropout(config.dropout)
        self.reset_parameters()

    def block(self, layer: int) -> MixingBlock:
        """A layer's block."""
        raise NotImplementedError

    def embed(self, inputs: Int[Tensor, "B T"], position: int) -> Float[Tensor, "B T d"]:
        """Vectors of tokens, the first of which is token ``position`` of all that were ever seen."""
        return self.head.embed(inputs)

    def stack(self) -> nn.ModuleList:
        return self.blocks

    def _blocks(self) -> Iterator[MixingBlock]:
        return cast(Iterator[MixingBlock], iter(self.blocks))

    def reset_parameters(self) -> None:
        """Weights N(0, std), biases 0; the rest as the mixers have it."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, 0, self.config.init_std)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        for block in self._blocks():
            block.mixer.reset_parameters(self.config.init_std)
        self.head.reset_parameters(self.config.init_std)

    def init_state(self, batch_size: int) -> MixingState:
        return MixingState(tuple(block.mixer.init_state(batch_size) for block in self._blocks()), 0)

    @torch.no_grad()
    def generation_state(self, state: State) -> MixingState:
        """A state under which single tokens are cheap; valid for fixed weights."""
        assert isinstance(state, MixingState)
        layers = zip(self._blocks(), state.layers, strict=True)
        return MixingState(tuple(block.mixer.generation_state(layer) for block, layer in layers), state.position)

    def forward(self, inputs: Int[Tensor, "B T"], state: State | None = None) -> Output:
        """Hidden states of the last layer ``[B, T, d]``, position t for token t + 1, and the state after the call.

        Raises:
            SeqmemError: a layer's state is beyond use, named with the layer and the token.
        """
        state = self.init_state(inputs.shape[0]) if state is None else state
        assert isinstance(state, MixingState)
        x = self.dropout(self.embed(inputs, state.position))
        layers = []
        for block, before in zip(self._blocks(), state.layers, strict=True):
            x, after = block(x, before)
            layers.append(after)
        state = MixingState(tuple(layers), state.position + inputs.shape[1])
        self._check(state)
        return Output(self.dropout(self.final_norm(x)), state)

    @torch.no_grad()
    def _check(self, state: MixingState) -> None:
        if torch.compiler.is_compiling() or is_fake(self.head.weight):
            return
        for layer, (block, carried) in enumerate(zip(self._blocks(), state.layers, strict=True), 1):
            if problem := block.mixer.problem(carried):
                raise SeqmemError(f"layer {layer} after token {state.position}: {problem}")

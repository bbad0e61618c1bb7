"""WaveNet (van den Oord et al. 2016, arXiv 1609.03499)."""

from collections.abc import Iterator
from typing import ClassVar, cast

import torch
from jaxtyping import Int
from pydantic import Field, model_validator
from torch import Tensor, nn

from seqmem.errors import SeqmemError
from seqmem.layers.dilated_conv import GatedConvolution, TokenConvolution, ValueConvolution
from seqmem.layers.head import Sampler
from seqmem.layers.logistics import LogisticMixture
from seqmem.layers.vocabulary import Softmax
from seqmem.models.base import CausalModel, ModelConfig, Output
from seqmem.models.head_choice import HeadChoice
from seqmem.models.token_loop import TokenLoop
from seqmem.models.wavenet_loop import QueuedTokenLoop
from seqmem.models.wavenet_state import WaveNetState
from seqmem.ops import ConvolutionProgram, Ops
from seqmem.ops.step import Affine
from seqmem.state import State


class WaveNetConfig(HeadChoice):
    """Configuration of :class:`WaveNet`; ``segment_len`` is the length of truncated backpropagation.

    Dilations are 1, 2, 4, ... within a stack, and begin anew in each.
    """

    num_layers: int = Field(gt=0)
    num_stacks: int = Field(1, gt=0, description="the layers come in as many stacks of equal depth")
    kernel_size: int = Field(2, ge=2)
    initial_kernel: int = Field(2, gt=0, description="of the first convolution, on the tokens")
    residual_channels: int = Field(gt=0)
    gate_channels: int = Field(gt=0, description="of the filters, and as many of the gates")
    skip_channels: int = Field(gt=0)
    num_conditions: int = Field(0, ge=0, description="classes of global conditioning, such as speakers; 0 for none")

    @model_validator(mode="after")
    def _stacks_are_equal(self):
        if self.num_layers % self.num_stacks:
            raise ValueError(f"num_layers = {self.num_layers} is not a multiple of num_stacks = {self.num_stacks}")
        return self

    @property
    def dilations(self) -> tuple[int, ...]:
        """Of each layer."""
        return tuple(2 ** (layer % (self.num_layers // self.num_stacks)) for layer in range(self.num_layers))

    @property
    def receptive_field(self) -> int:
        """Tokens that a hidden state depends on, its own included."""
        return (self.kernel_size - 1) * sum(self.dilations) + self.initial_kernel

    @property
    def turnover(self) -> int:
        return self.receptive_field

    @property
    def memory_note(self) -> str:
        return f"the last {self.receptive_field} tokens"


class WaveNet(CausalModel):
    """Stacks of dilated causal convolutions with gates, residuals and skips.

    Layer k: ``z_k = tanh(W_fk * x + V_fk h) * sigmoid(W_gk * x + V_gk h)``, ``x + W_k z_k`` to the next layer. The
    hidden state is ``relu(A relu(sum_k S_k z_k + s) + a)``, and the head maps it to logits. Every convolution has
    biases; the skips, computed as one product, share one, and the last layer has no residual, which nobody would read.
    The condition h is a class, whose vectors ``V_fk h, V_gk h`` are rows of a table.

    Where the paper is silent: before the first token, every layer's inputs were zero and every token was
    ``vocab_size // 2``, which is silence in a codec of levels; weights start Glorot uniform, biases at 0.
    """

    Config: ClassVar[type[ModelConfig]] = WaveNetConfig
    # Published: channels and layers of ibab (github.com/ibab/tensorflow-wavenet), 30 layers of about 40M parameters in
    # all (Rae et al. 2019, section 5.7). Ours: everything else; audio-cpu has as many parameters as the other models'.
    SIZES: ClassVar[dict[str, dict]] = {
        "tiny": dict(
            vocab_size=256,
            num_layers=6,
            num_stacks=2,
            residual_channels=12,
            gate_channels=8,
            skip_channels=16,
            segment_len=16,
        ),
        "small": dict(
            vocab_size=256,
            num_layers=20,
            num_stacks=2,
            residual_channels=32,
            gate_channels=32,
            skip_channels=128,
            segment_len=2048,
        ),
        "audio-cpu": dict(
            vocab_size=256,
            num_layers=20,
            num_stacks=2,
            residual_channels=48,
            gate_channels=48,
            skip_channels=128,
            segment_len=512,
        ),
        "ibab": dict(
            vocab_size=256,
            num_layers=50,
            num_stacks=5,
            residual_channels=32,
            gate_channels=32,
            skip_channels=512,
            segment_len=8192,
        ),
        "paper-40m": dict(
            vocab_size=256,
            num_layers=30,
            num_stacks=3,
            residual_channels=480,
            gate_channels=480,
            skip_channels=384,
            segment_len=3840,
        ),
    }

    config: WaveNetConfig
    head: Softmax | LogisticMixture

    def __init__(self, config: WaveNetConfig, ops: Ops):
        super().__init__()
        self.config = config
        self.ops = ops
        c = config
        of_levels = c.head == "logistic-mixture"
        first = ValueConvolution if of_levels else TokenConvolution
        self.first = first(c.vocab_size, c.residual_channels, c.initial_kernel)
        self.layers = nn.ModuleList(
            GatedConvolution(
                c.residual_channels, c.gate_channels, c.kernel_size, dilation, index == c.num_layers - 1, ops
            )
            for index, dilation in enumerate(c.dilations)
        )
        self.conditions = nn.Embedding(c.num_conditions, c.num_layers * 2 * c.gate_channels)
        self.skips = nn.Linear(c.num_layers * c.gate_channels, c.skip_channels)
        self.hidden = nn.Linear(c.skip_channels, c.skip_channels)
        self.head = (
            LogisticMixture(c.vocab_size, c.skip_channels, c.num_logistics)
            if of_levels
            else Softmax(c.vocab_size, c.skip_channels)
        )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Glorot uniform for every matrix, each layer's skips apart; conditions N(0, 0.1)."""
        self.first.reset_parameters()
        for layer in self._layers():
            layer.reset_parameters()
        for skips in self.skips.weight.data.chunk(self.config.num_layers, 1):
            nn.init.xavier_uniform_(skips)
        nn.init.xavier_uniform_(self.hidden.weight)
        for affine in (self.skips, self.hidden):
            nn.init.zeros_(affine.bias)
        nn.init.normal_(self.conditions.weight, 0, 0.1)
        self.head.reset_parameters(self.config.skip_channels**-0.5)

    def stack(self) -> nn.ModuleList:
        return self.layers

    def _layers(self) -> Iterator[GatedConvolution]:
        return cast(Iterator[GatedConvolution], iter(self.layers))

    def init_state(self, batch_size: int, condition: Int[Tensor, "B"] | None = None) -> WaveNetState:
        """The state before the first token.

        Args:
            condition: class of each stream, 0 ... ``num_conditions - 1``; class 0 when absent.
        """
        c, like = self.config, self.hidden.weight
        if condition is None:
            condition = torch.zeros(batch_size, dtype=torch.int64, device=like.device)
        elif not c.num_conditions or not 0 <= int(condition.min()) <= int(condition.max()) < c.num_conditions:
            raise SeqmemError(f"condition {condition.tolist()}: the model has {c.num_conditions} classes; name those")
        tokens = condition.new_full((batch_size, c.initial_kernel - 1), c.vocab_size // 2)
        layers = tuple(like.new_zeros(batch_size, layer.past_len, c.residual_channels) for layer in self._layers())
        return WaveNetState(tokens, layers, condition, 0)

    def forward(self, inputs: Int[Tensor, "B T"], state: State | None = None) -> Output:
        """Hidden states ``[B, T, S]``, position t for token t + 1, and the state after the call."""
        state = self.init_state(inputs.shape[0]) if state is None else state
        assert isinstance(state, WaveNetState)
        tokens = torch.cat([state.tokens, inputs], 1)
        x = self.first(tokens)
        gated, pasts = [], []
        for layer, past, condition in zip(self._layers(), state.layers, self._conditions(state), strict=True):
            x, z, past = layer(x, past, condition)
            gated.append(z)
            pasts.append(past)
        skips = self.skips(torch.cat(gated, -1))
        tokens = tokens[:, inputs.shape[1] :]
        after = WaveNetState(tokens, tuple(pasts), state.condition, state.position + inputs.shape[1])
        return Output(self.hidden(skips.relu()).relu(), after)

    def _conditions(self, state: WaveNetState) -> list[Tensor | None]:
        """What the streams' classes add to each layer's convolution, ``[B, 2 * G]``."""
        if not self.config.num_conditions:
            return [None] * self.config.num_layers
        return [*self.conditions(state.condition).chunk(self.config.num_layers, 1)]

    def token_loop(self, state: State, sampler: Sampler) -> TokenLoop:
        assert isinstance(state, WaveNetState)
        loop = self.ops.compile_loop(self.program(state))
        return super().token_loop(state, sampler) if loop is None else QueuedTokenLoop(loop, state, sampler)

    @torch.no_grad()
    def program(self, state: WaveNetState) -> ConvolutionProgram:
        """The whole model, as it generates for the state's conditions; weights are shared."""
        c = self.config
        weights = self.skips.weight.chunk(c.num_layers, 1)
        skips = [Affine(weight, None if index else self.skips.bias) for index, weight in enumerate(weights)]
        return ConvolutionProgram(
            first=self.first.weight,
            first_bias=self.first.bias,
            layers=tuple(map(GatedConvolution.description, self._layers(), skips, self._conditions(state))),
            hidden=Affine.of(self.hidden),
            head=Affine(self.head.weight, self.head.bias),
            kind=c.head,
            num_classes=c.vocab_size,
            num_phases=c.num_phases,
        )

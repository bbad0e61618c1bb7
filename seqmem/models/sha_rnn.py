"""SHA-RNN, the single-headed attention RNN (Merity 2019, arXiv 1911.11423)."""

import math
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
from jaxtyping import Bool, Float, Int
from pydantic import Field, model_validator
from torch import Tensor, nn

from seqmem.layers.boom import Boom
from seqmem.layers.lstm import run_lstm
from seqmem.layers.single_head import NORM_EPS, SingleHeadAttention
from seqmem.layers.vocabulary import TiedSoftmax
from seqmem.models.base import CausalModel, ModelConfig, Output, split_at_borders
from seqmem.ops import Ops
from seqmem.state import State


class SHARNNConfig(ModelConfig):
    """Configuration of :class:`SHARNN`; ``mem_len`` changes no weight."""

    num_layers: int = Field(gt=0)
    d_model: int = Field(gt=0)
    d_inner: int = Field(gt=0, description="a multiple of d_model")
    dropout: float = Field(0.0, ge=0, lt=1)
    mem_len: int = Field(ge=0, description="slots of memory in every layer that attends")
    attention_layers: Literal["second-last", "all"] = "second-last"

    @model_validator(mode="after")
    def _layers_fit(self):
        if self.d_inner % self.d_model:
            raise ValueError(f"d_inner = {self.d_inner} is no multiple of d_model = {self.d_model}; make it one")
        if self.attention_layers == "second-last" and self.num_layers == 1:
            raise ValueError("a single layer has no second-last; set attention_layers = 'all' or num_layers = 2")
        return self

    @property
    def attends(self) -> tuple[bool, ...]:
        """For each layer whether it attends to memory."""
        return tuple(self.attention_layers == "all" or i == self.num_layers - 2 for i in range(self.num_layers))

    @property
    def turnover(self) -> int:
        return self.segment_len + self.mem_len

    @property
    def memory_note(self) -> str:
        return f"{self.mem_len} tokens of memory and LSTM states"


@dataclass(frozen=True)
class SHARNNState(State):
    """LSTM states, memory and unfinished segment.

    Args:
        hidden, cell: of each layer's LSTM, ``[B, d]``.
        past: for each layer what it has normalised for memory, oldest first, ``[B, mem_len + u, d]``: the memory's
            slots, then the u tokens since the last border. ``[B, 0, d]`` in a layer that does not attend.
        filled: tokens that have gone into memory, int64 ``[B]``; slots for which there were none yet are off.
        position: tokens seen so far.
    """

    hidden: tuple[Tensor, ...]
    cell: tuple[Tensor, ...]
    past: tuple[Tensor, ...]
    filled: Tensor
    position: int


class Block(nn.Module):
    """LN, LSTM, in some layers attention to memory, Boom; the LSTM has no residual, Boom's is normalised."""

    def __init__(self, config: SHARNNConfig, attends: bool, ops: Ops):
        super().__init__()
        d_model = config.d_model
        self.lstm_norm = nn.LayerNorm(d_model, NORM_EPS)
        self.lstm = nn.LSTM(d_model, d_model, batch_first=True)
        self.attention = SingleHeadAttention(d_model, config.dropout, ops) if attends else None
        self.boom_norm = nn.LayerNorm(d_model, NORM_EPS)
        self.boom = Boom(d_model, config.d_inner, config.dropout)
        self.residual_norm = nn.LayerNorm(d_model, NORM_EPS)
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self,
        x: Float[Tensor, "B T d"],
        hidden: Float[Tensor, "B d"],
        cell: Float[Tensor, "B d"],
        past: Float[Tensor, "B L d"],
        valid: Bool[Tensor, "B S"],
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The next layer's input; then hidden, cell and past after it."""
        x, (hidden, cell) = run_lstm(self.lstm, self.lstm_norm(x), (hidden[None], cell[None]))
        x = self.dropout(x)
        if self.attention is not None:
            x, past = self.attention(x, past, valid)
        x = self.residual_norm(x) + self.dropout(self.boom(self.boom_norm(x)))
        return x, hidden[0], cell[0], past


class SHARNN(CausalModel):
    """LSTM layers, a single attention head over long memory in one or all of them, and Boom feed-forwards.

    Equations, initialisation and the size ``enwik8`` are those of the author's published code: ``"second-last"`` is its
    minimal model, ``"all"`` the one of 63M parameters. Linear and embedding weights are N(0, 0.1 / sqrt(d)), biases and
    gates 0, LSTMs as PyTorch makes them. LN gains are 1: the code's rule for them names PyTorch's LN, but it builds
    apex's. It does not scale its embedding; the first LN undoes the scale that the tied softmax gives ours. Its three
    dropout rates, equal in its published command, are one here, and parameters that it never uses are left out.

    Our choices, where it leaves lengths to the training loop and shortens them at random: memory starts empty and moves
    at multiples of ``segment_len``, whatever the calls. A token attends to memory as it stood at its segment's start
    and to its own segment so far. At a segment's end memory becomes the last ``mem_len`` of [memory | segment], and
    gradients stop there, in memory as in the LSTMs.
    """

    Config: ClassVar = SHARNNConfig
    SIZES: ClassVar[dict[str, dict]] = {
        "tiny": dict(vocab_size=256, num_layers=2, d_model=32, d_inner=64, segment_len=16, mem_len=16),
        "small": dict(
            vocab_size=8192, num_layers=4, d_model=304, d_inner=1216, dropout=0.1, segment_len=256, mem_len=256
        ),
        "enwik8": dict(
            vocab_size=205, num_layers=4, d_model=1024, d_inner=4096, dropout=0.1, segment_len=1024, mem_len=3976
        ),
    }

    config: SHARNNConfig
    head: TiedSoftmax

    def __init__(self, config: SHARNNConfig, ops: Ops):
        super().__init__()
        self.config = config
        self.ops = ops
        self.head = TiedSoftmax(config.vocab_size, config.d_model)
        self.blocks = nn.ModuleList(Block(config, attends, ops) for attends in config.attends)
        self.dropout = nn.Dropout(config.dropout)
        self.reset_parameters()

    def stack(self) -> nn.ModuleList:
        return self.blocks

    def reset_parameters(self) -> None:
        """The published initialisation of all but the LSTMs, which have PyTorch's."""
        std = 0.1 / math.sqrt(self.config.d_model)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, 0, std)
                nn.init.zeros_(module.bias)
        self.head.reset_parameters(std)

    def init_state(self, batch_size: int) -> SHARNNState:
        c, like = self.config, self.head.weight
        zeros = (like.new_zeros(batch_size, c.d_model),) * c.num_layers
        past = tuple(like.new_zeros(batch_size, c.mem_len * attends, c.d_model) for attends in c.attends)
        return SHARNNState(zeros, zeros, past, torch.zeros(batch_size, dtype=torch.int64, device=like.device), 0)

    def forward(self, inputs: Int[Tensor, "B T"], state: State | None = None) -> Output:
        """Hidden states of the last layer ``[B, T, d]``, position t for token t + 1, and the state after the call."""
        state = self.init_state(inputs.shape[0]) if state is None else state
        assert isinstance(state, SHARNNState)
        hidden = []
        for piece in split_at_borders(inputs, state.position, self.config.segment_len):
            x, state = self._within_segment(piece, state)
            if state.position % self.config.segment_len == 0:
                state = self._at_border(state)
            hidden.append(x)
        return Output(torch.cat(hidden, 1), state)

    def _within_segment(self, inputs: Tensor, state: SHARNNState) -> tuple[Tensor, SHARNNState]:
        c, num_tokens = self.config, inputs.shape[1]
        slot = torch.arange(c.mem_len + state.position % c.segment_len + num_tokens, device=inputs.device)
        valid = slot >= c.mem_len - state.filled[:, None]
        x = self.dropout(self.head.embed(inputs))
        carried = []
        for block, *before in zip(self.blocks, state.hidden, state.cell, state.past, strict=True):
            x, *after = block(x, *before, valid)
            carried.append(after)
        hidden, cell, past = zip(*carried, strict=True)
        return self.dropout(x), SHARNNState(hidden, cell, past, state.filled, state.position + num_tokens)

    def _at_border(self, state: SHARNNState) -> SHARNNState:
        """Memory takes in the finished segment; no gradient leads into it from here on."""
        past = tuple(layer[:, layer.shape[1] - self.config.mem_len :] for layer in state.past)
        filled = state.filled + self.config.segment_len
        return replace(state, past=past, filled=filled).detach()

"""The LSTM language model (Hochreiter and Schmidhuber 1997), a control whose memory is one vector a layer."""

from dataclasses import dataclass
from typing import ClassVar

from pydantic import Field
from torch import Tensor, nn

from seqmem.layers.lstm import run_lstm
from seqmem.layers.vocabulary import TiedSoftmax
from seqmem.models.base import CausalModel, ModelConfig, Output
from seqmem.ops import Ops
from seqmem.state import State


class LSTMConfig(ModelConfig):
    """Configuration of :class:`LSTM`; ``segment_len`` is the length of truncated backpropagation."""

    num_layers: int = Field(gt=0)
    d_model: int = Field(gt=0)
    dropout: float = Field(0.0, ge=0, lt=1)
    init_std: float = Field(0.02, gt=0)


@dataclass(frozen=True)
class LSTMState(State):
    """Hidden and cell vectors of every layer, ``[B, layers, d]``."""

    hidden: Tensor
    cell: Tensor


class LSTM(CausalModel):
    """PyTorch's LSTM with tied embedding and softmax, dropout between layers and at both ends."""

    Config: ClassVar = LSTMConfig
    SIZES: ClassVar[dict[str, dict]] = {
        "tiny": dict(vocab_size=256, num_layers=1, d_model=32, segment_len=16),
        "small": dict(vocab_size=8192, num_layers=2, d_model=512, dropout=0.1, segment_len=256),
    }

    config: LSTMConfig
    head: TiedSoftmax

    def __init__(self, config: LSTMConfig, ops: Ops):
        super().__init__()
        self.config = config
        self.ops = ops
        self.head = TiedSoftmax(config.vocab_size, config.d_model)
        self.lstm = nn.LSTM(
            config.d_model,
            config.d_model,
            config.num_layers,
            batch_first=True,
            dropout=config.dropout if config.num_layers > 1 else 0.0,
        )
        self.dropout = nn.Dropout(config.dropout)
        self.head.reset_parameters(config.init_std)

    def init_state(self, batch_size: int) -> LSTMState:
        zeros = self.head.weight.new_zeros(batch_size, self.config.num_layers, self.config.d_model)
        return LSTMState(zeros, zeros)

    def forward(self, inputs: Tensor, state: State | None = None) -> Output:
        """Hidden states of the last layer ``[B, T, d]``, position t for token t + 1, and the state after the call."""
        state = self.init_state(inputs.shape[0]) if state is None else state
        assert isinstance(state, LSTMState)
        before = (state.hidden.transpose(0, 1).contiguous(), state.cell.transpose(0, 1).contiguous())
        out, (hidden, cell) = run_lstm(self.lstm, self.dropout(self.head.embed(inputs)), before)
        return Output(self.dropout(out), LSTMState(hidden.transpose(0, 1), cell.transpose(0, 1)))

"""The Feedback Transformer (Fan et al. 2020, arXiv 2002.09402)."""

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor, nn

from seqmem.layers.feedback import FeedbackLayers
from seqmem.layers.feedback_pass import Columns
from seqmem.layers.vocabulary import TiedSoftmax
from seqmem.models.base import CausalModel, GenerationStep, ModelConfig, Output
from seqmem.ops import Ops
from seqmem.ops.autocast import suspended
from seqmem.state import State


class FeedbackConfig(ModelConfig):
    """Configuration of :class:`Feedback`; ``mem_len`` changes no weight, ``segment_len`` is of backpropagation."""

    num_layers: int = Field(gt=0)
    d_model: int = Field(gt=0)
    num_heads: int = Field(gt=0)
    head_dim: int = Field(gt=0)
    d_inner: int = Field(gt=0)
    dropout: float = Field(0.0, ge=0, lt=1)
    mem_len: int = Field(gt=0, description="memories that a token sees: those of the tokens before it")
    init_std: float = Field(0.02, gt=0)

    @property
    def turnover(self) -> int:
        return self.mem_len

    @property
    def memory_note(self) -> str:
        return f"{self.mem_len} memories of all layers"


@dataclass(frozen=True)
class FeedbackState(State):
    """Memories of the last tokens.

    Args:
        past: oldest first, at most ``mem_len``, ``[B, P, d]``. For generation, the keys and values that they give to
            all layers, ``[B, P, 2, H, D]``.
        filled: how many of the last tokens left one that is to be seen, int64 ``[B]``.
        position: tokens seen so far.
        relative: for generation, the distances' positions ``[C, H, D]``; empty otherwise.
    """

    past: Tensor
    filled: Tensor
    position: int
    relative: tuple[Tensor, ...] = ()

    batch_free: ClassVar[frozenset[str]] = frozenset({"relative"})

    @property
    def is_cached(self) -> bool:
        """Whether it holds keys and values."""
        return self.past.dim() == 5


class Feedback(CausalModel):
    """Layers that attend to one memory vector of every token before: a mixture of what all layers made of it.

    So a token's first layer sees what the last layer thought of the tokens before it, and memory is one key and one
    value a token, whatever the depth. Tokens must go one by one; a call costs what its tokens cost singly.

    Pre-LN with shared norm and projection of memories, and equal shares at first, as in the authors' code; the first
    token of all, which has no memory to attend to, passes attention by. Positions are
    Transformer-XL's, so that ``mem_len`` may change after training; an LN ends the layers. Both are our choice.
    """

    Config: ClassVar = FeedbackConfig
    # Published: the layers, widths, heads and dropout of enwik8, where a span of up to 8192 is learned.
    SIZES: ClassVar[dict[str, dict]] = {
        "tiny": dict(
            vocab_size=256, num_layers=2, d_model=32, num_heads=2, head_dim=16, d_inner=64, segment_len=16, mem_len=12
        ),
        "enwik8": dict(
            vocab_size=205,
            num_layers=12,
            d_model=512,
            num_heads=8,
            head_dim=128,
            d_inner=4096,
            dropout=0.5,
            segment_len=128,
            mem_len=8192,
        ),
        # Ours: as many parameters as the other models' size of that name.
        "bytes-cpu": dict(
            vocab_size=257,
            num_layers=4,
            d_model=128,
            num_heads=4,
            head_dim=32,
            d_inner=784,
            segment_len=256,
            mem_len=256,
        ),
    }

    config: FeedbackConfig
    head: TiedSoftmax

    def __init__(self, config: FeedbackConfig, ops: Ops):
        super().__init__()
        self.config = config
        self.ops = ops
        c = config
        self.head = TiedSoftmax(c.vocab_size, c.d_model)
        self.layers = FeedbackLayers(c.num_layers, c.d_model, (c.num_heads, c.head_dim), c.d_inner, c.dropout)
        self.final_norm = nn.LayerNorm(c.d_model)
        self.dropout = nn.Dropout(c.dropout)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Weights N(0, std), biases 0."""
        std = self.config.init_std
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, 0, std)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        self.layers.reset_parameters(std)
        self.head.reset_parameters(std)

    def init_state(self, batch_size: int) -> FeedbackState:
        like = self.head.weight
        filled = torch.zeros(batch_size, dtype=torch.int64, device=like.device)
        return FeedbackState(like.new_zeros(batch_size, 0, self.config.d_model), filled, 0)

    @torch.no_grad()
    def generation_state(self, state: State) -> FeedbackState:
        """Keys and values instead of memories; valid for fixed weights."""
        assert isinstance(state, FeedbackState)
        if state.is_cached:
            return state
        relative = self.layers.relative(self.config.mem_len)
        return replace(state, past=self.layers.cached(state.past), relative=(relative,))

    def generation_step(self, state: State) -> GenerationStep:
        return FeedbackStep(self, self.generation_state(state))

    def forward(self, inputs: Int[Tensor, "B T"], state: State | None = None) -> Output:
        """Hidden states of the last layer ``[B, T, d]``, position t for token t + 1, and the state after the call."""
        state = self.init_state(len(inputs)) if state is None else state
        assert isinstance(state, FeedbackState)
        if state.is_cached:
            step = FeedbackStep(self, state)
            return Output(torch.stack([step(token) for token in inputs.unbind(1)], 1), step.state)
        x = self.dropout(self.head.embed(inputs))
        hidden, memories = self.layers(x, state.past, state.filled, self.config.mem_len)
        past = torch.cat([state.past, memories], 1)[:, -self.config.mem_len :]
        return Output(self.hidden(hidden), _after(state, past, inputs.shape[1]))

    def hidden(self, x: Float[Tensor, "... d"]) -> Float[Tensor, "... d"]:
        """What the head takes, of the last layer's output."""
        return self.dropout(self.final_norm(x))


class FeedbackStep:
    """The :class:`GenerationStep` of the model; keys and values stay where they are for ``mem_len`` tokens.

    Args:
        state: a generation state.
    """

    def __init__(self, model: Feedback, state: FeedbackState):
        self._model = model
        self._begin = state
        self._reader = model.layers.reader(state.relative[0])
        self._columns = Columns.of(state.past, state.filled, model.config.mem_len)
        self._num_read = 0

    @property
    def state(self) -> FeedbackState:
        """The generation state after the tokens so far; later tokens leave it as it is."""
        past = self._columns.newest(self._model.config.mem_len).clone()
        return _after(self._begin, past, self._num_read)

    @torch.no_grad()
    def __call__(self, tokens: Int[Tensor, "B"]) -> Float[Tensor, "B d"]:
        mem_len = self._model.config.mem_len
        if not self._columns.room:
            self._columns = Columns.of(self._columns.newest(mem_len), self._begin.filled + self._num_read, mem_len)
        x = self._model.dropout(self._model.head.embed(tokens))
        self._num_read += 1
        with suspended(x):
            passed, _ = self._reader(x, self._columns)
        return self._model.hidden(passed[-1].output)


def _after(state: FeedbackState, past: Tensor, num_tokens: int) -> FeedbackState:
    """The state after so many tokens more."""
    return replace(state, past=past, filled=state.filled + num_tokens, position=state.position + num_tokens)

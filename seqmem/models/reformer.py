"""Reformer (Kitaev et al. 2020, arXiv 2001.04451)."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar, cast

import torch
from jaxtyping import Bool, Float, Int
from pydantic import Field, model_validator
from torch import Tensor, nn

from seqmem.layers.feed_forward import feed_forward
from seqmem.layers.lsh_attention import HashedKeys, LSHAttention
from seqmem.layers.positions import sinusoid
from seqmem.layers.reversible import Branch, reversible
from seqmem.layers.vocabulary import TiedSoftmax
from seqmem.models.base import CausalModel, ModelConfig, Output, split_at_borders
from seqmem.models.mixing import MixingConfig
from seqmem.ops import Ops
from seqmem.state import State, newest

FEED_FORWARD_TOKENS = 1024
"""Tokens of a text that a feed-forward layer takes at a time where gradients are wanted."""


class ReformerConfig(MixingConfig):
    """Configuration of :class:`Reformer`; ``segment_len`` and ``mem_len`` are its context."""

    num_heads: int = Field(gt=0)
    num_hashes: int = Field(2, gt=0, description="rounds of hashing; more see more, and each costs as much")
    num_buckets: int = Field(gt=0, lt=2**15, description="of a round, an even number, or 1")
    chunk_len: int = Field(gt=0, description="tokens of a bucket that see each other and as many before them")
    mem_len: int = Field(0, ge=0, description="tokens before a segment that it sees; none in the paper")
    attention_dropout: float = Field(0.0, ge=0, lt=1)

    @model_validator(mode="after")
    def _heads_and_buckets_fit(self):
        if self.d_model % self.num_heads:
            raise ValueError(f"d_model = {self.d_model} is not a multiple of num_heads = {self.num_heads}")
        if self.num_buckets > 1 and self.num_buckets % 2:
            raise ValueError(
                f"num_buckets = {self.num_buckets} is odd; buckets come in pairs, give an even number or 1"
            )
        return self

    @property
    def period(self) -> int:
        return math.lcm(self.segment_len, self.turnover)

    @property
    def turnover(self) -> int:
        return self.segment_len + self.mem_len

    @property
    def memory_note(self) -> str:
        return f"{self.mem_len} tokens in every layer" if self.mem_len else "nothing"


@dataclass(frozen=True)
class ReformerState(State):
    """What the next tokens can see.

    Args:
        past: for each layer, of the memory and of the unfinished segment, what attention was given, ``[B, P, d]``, or
            for generation what it made of that.
        filled: how many of the last tokens are to be seen, int64 ``[B]``.
        position: tokens seen so far.
    """

    past: tuple[Tensor | HashedKeys, ...]
    filled: Tensor
    position: int


class ReformerBlock(nn.Module):
    """Attention and a feed-forward layer, each after a norm: the two branches of a reversible layer."""

    def __init__(self, config: ReformerConfig, ops: Ops):
        super().__init__()
        c = config
        hashing = (c.num_hashes, c.num_buckets, c.chunk_len)
        self.norm = nn.LayerNorm(c.d_model)
        self.attention = LSHAttention(c.d_model, c.num_heads, *hashing, c.attention_dropout, ops)
        self.dropout = nn.Dropout(c.dropout)
        self.feed_forward = nn.Sequential(
            nn.LayerNorm(c.d_model), *feed_forward(c.d_model, c.d_inner, c.dropout, nn.GELU)
        )


class Reading:
    """A block in one call: its branches, which can be computed again, and what they leave for later calls.

    Again, tokens are in the buckets of the first time; found from inputs that were rounded, some would be in others.

    Args:
        past: what the block saw in the calls before.
        valid: which of that is to be seen, ``[B, P]``.
        num_kept: how many of the last tokens later calls see.

    Attributes:
        left: of these tokens, what ``past`` is of its own; without gradient.
    """

    left: Tensor | HashedKeys

    def __init__(self, block: ReformerBlock, past: Tensor | HashedKeys, valid: Bool[Tensor, "B P"], num_kept: int):
        self._block, self._past, self._valid, self._num_kept = block, past, valid, num_kept
        self._buckets: Tensor | None = None

    def branches(self) -> tuple[Branch, Branch]:
        block = self._block
        attention = (*block.norm.parameters(), *block.attention.parameters())
        return (
            Branch(self._attend, attention),
            Branch(block.feed_forward, (*block.feed_forward.parameters(),), FEED_FORWARD_TOKENS),
        )

    def _attend(self, x: Float[Tensor, "B T d"]) -> Float[Tensor, "B T d"]:
        x = self._block.norm(x)
        out, present = self._block.attention(x, self._past, self._buckets, self._valid)
        if self._buckets is None:
            self._buckets = present.buckets
            self.left = self._newest(x.detach(), present)
        return self._block.dropout(out)

    def _newest(self, x: Float[Tensor, "B T d"], present: HashedKeys) -> Tensor | HashedKeys:
        def cut(tokens: Tensor) -> Tensor:
            return tokens[:, max(0, tokens.shape[1] - self._num_kept) :].clone()

        if isinstance(self._past, HashedKeys):
            return self._past.then(present).map(cut)
        return cut(torch.cat([self._past, x], 1))


class Reformer(CausalModel):
    """Attention among tokens of a bucket, in reversible layers, so that gradients need little memory.

    The paper lets the future choose: chunks are cut from the sorted sequence, and later tokens shift them. Here they
    are counted from the start of a bucket, so that a token's result depends on nothing after it, to the bit, and for
    every split of a sequence into calls is the same but for rounding. A vector within a rounding of the border between
    two buckets may fall on either side of it, in one call so and in another so: next to never in float64, in float32
    now and then, and often under autocast, where whole and chunked then differ by more than rounding.

    A segment sees itself and, with ``mem_len``, the tokens before it; buckets are counted from the first of these.
    With one bucket and chunks as long as all that is full attention with shared queries and keys. In training every
    call hashes by rotations of its own, afterwards by the last ones, which a checkpoint keeps. A carried state has no
    gradient. What gradients need grows little with depth: a layer adds its memory, and two bytes for every token, head
    and round.

    The paper leaves open: both streams begin as the embedding and end as their mean, a norm after it; pre-LN; GELU.
    Positions are sinusoids here, counted modulo ``segment_len + mem_len``, where it learns them.
    """

    Config: ClassVar[type[ModelConfig]] = ReformerConfig
    SIZES: ClassVar[dict[str, dict]] = {
        "tiny": dict(
            vocab_size=256,
            num_layers=2,
            d_model=32,
            num_heads=2,
            d_inner=64,
            segment_len=16,
            mem_len=16,
            num_buckets=4,
            chunk_len=4,
        ),
        # Published: layers and context of enwik8, widths and heads of the ablations, chunks of twice the tokens of a
        # bucket; the rest is ours.
        "enwik8": dict(
            vocab_size=205,
            num_layers=12,
            d_model=1024,
            num_heads=8,
            d_inner=4096,
            segment_len=65536,
            num_hashes=4,
            num_buckets=1024,
            chunk_len=128,
        ),
        # Ours: as many parameters as the other models' size of that name.
        "bytes-cpu": dict(
            vocab_size=257,
            num_layers=4,
            d_model=128,
            num_heads=4,
            d_inner=768,
            segment_len=256,
            mem_len=256,
            num_buckets=8,
            chunk_len=32,
        ),
    }

    config: ReformerConfig
    head: TiedSoftmax
    blocks: nn.ModuleList

    def __init__(self, config: ReformerConfig, ops: Ops):
        super().__init__()
        self.config = config
        self.ops = ops
        self.head = TiedSoftmax(config.vocab_size, config.d_model)
        self.blocks = nn.ModuleList(ReformerBlock(config, ops) for _ in range(config.num_layers))
        self.final_norm = nn.LayerNorm(config.d_model)
        self.dropout = nn.Dropout(config.dropout)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Weights N(0, std), biases 0; rotations N(0, 1)."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, 0, self.config.init_std)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        self.head.reset_parameters(self.config.init_std)
        self._draw()

    def _draw(self) -> None:
        for block in self._blocks():
            block.attention.draw()

    def _blocks(self) -> Iterator[ReformerBlock]:
        return cast(Iterator[ReformerBlock], iter(self.blocks))

    def init_state(self, batch_size: int) -> ReformerState:
        nothing = self.head.weight.new_zeros(batch_size, 0, self.config.d_model)
        filled = torch.zeros(batch_size, dtype=torch.int64, device=nothing.device)
        return ReformerState((nothing,) * self.config.num_layers, filled, 0)

    @torch.no_grad()
    def generation_state(self, state: State) -> ReformerState:
        """Keys, values and buckets instead of inputs, so that a step projects one token; valid for fixed weights."""
        assert isinstance(state, ReformerState)
        layers = zip(self._blocks(), state.past, strict=True)
        past = [seen if isinstance(seen, HashedKeys) else block.attention.hashed(seen)[1] for block, seen in layers]
        return replace(state, past=tuple(past))

    def embed(self, inputs: Int[Tensor, "B T"], position: int) -> Float[Tensor, "B T d"]:
        """Vectors of tokens, the first of which is token ``position`` of all that were ever seen."""
        like, context = self.head.weight, self.config.segment_len + self.config.mem_len
        at = torch.arange(position, position + inputs.shape[1], device=like.device) % context
        precise = torch.promote_types(like.dtype, torch.float32)
        return self.head.embed(inputs) + sinusoid(at.to(precise), like.shape[1]).to(like.dtype)

    def forward(self, inputs: Int[Tensor, "B T"], state: State | None = None) -> Output:
        """Hidden states of the last layer ``[B, T, d]``, position t for token t + 1, and the state after the call."""
        state = self.init_state(inputs.shape[0]) if state is None else state
        assert isinstance(state, ReformerState)
        if self.training:
            self._draw()
        hidden = []
        for piece in split_at_borders(inputs, state.position, self.config.segment_len):
            x, state = self._through_layers(piece, state)
            hidden.append(self.dropout(self.final_norm(x)))
        return Output(torch.cat(hidden, 1), state)

    def _through_layers(self, inputs: Tensor, state: ReformerState) -> tuple[Float[Tensor, "B T d"], ReformerState]:
        """The mean of both streams after the last layer, and the state after it."""
        position = state.position + inputs.shape[1]
        num_kept = self.config.mem_len + position % self.config.segment_len
        layers = zip(self._blocks(), state.past, strict=True)
        valid = newest(
            state.filled, min(state.position, self.config.mem_len + state.position % self.config.segment_len)
        )
        readings = [Reading(block, past, valid, num_kept) for block, past in layers]
        branches = [branch for reading in readings for branch in reading.branches()]
        a, b = reversible(branches, self.dropout(self.embed(inputs, state.position)))
        left = tuple(reading.left for reading in readings)
        return (a + b) / 2, ReformerState(left, state.filled + inputs.shape[1], position)

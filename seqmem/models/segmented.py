"""Causal transformers whose memory moves by the clock.

Time is cut into segments of ``segment_len`` tokens, counted from the first token ever seen. A token attends to the
memory as it stood at its segment's start and to its own segment so far; at a segment's end each layer's memory becomes
the last ``mem_len`` of [memory | segment], detached. Calls may begin and end anywhere: what is left of an unfinished
segment waits in the state, and a call that crosses a border is split. So whole = chunked = token by token.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, cast

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from seqmem.layers.attention import Block, RelativeTerms, SelfAttention
from seqmem.layers.feed_forward import feed_forward
from seqmem.layers.logistics import EmbeddingLogisticMixture
from seqmem.layers.projected_softmax import ProjectedSoftmax
from seqmem.layers.vocabulary import AdaptiveSoftmax, TiedSoftmax
from seqmem.models.base import CausalModel, GenerationStep, Output, split_at_borders
from seqmem.models.segmented_config import SegmentedConfig
from seqmem.models.segmented_step import SegmentedStep
from seqmem.ops import Band, Ops, StepProgram
from seqmem.ops.step import Norm, StepBuffers
from seqmem.state import State


@dataclass(frozen=True)
class SegmentedState(State):
    """Memory and unfinished segment.

    Args:
        past: for each layer its inputs ``[B, slots + u, d]``, oldest first: the memory's slots, then the u tokens since
            the last border. For generation, the keys and values ``[B, slots + u, 2, H, D]`` that they give.
        filled: tokens that have gone into memory, int64 ``[B]``; slots for which there were none yet are off.
        position: tokens seen so far.
        relative: for generation, for each layer ``W_r R`` of all distances that occur, farthest first,
            ``[slots + segment_len, H, D]``; empty otherwise, and without relative positions.
    """

    past: tuple[Tensor, ...]
    filled: Tensor
    position: int
    relative: tuple[Tensor, ...] = ()

    batch_free: ClassVar[frozenset[str]] = frozenset({"relative"})

    @property
    def is_cached(self) -> bool:
        """Whether it holds keys and values."""
        return self.past[0].dim() == 5


@dataclass(frozen=True)
class LayerPass:
    """What a layer met in a call.

    Args:
        inputs: ``[B, T, d]``.
        past: the state's, extended by the call.
        keys_values: that ``past`` gives, ``[B, S, 2, H, D]``.
        usage: attention mass each key received ``[B, S, H]``, where it was asked for.
    """

    inputs: Tensor
    past: Tensor
    keys_values: Tensor
    usage: Tensor | None


class SegmentedTransformer(CausalModel):
    """Blocks, vocabulary and clock; subclasses say how positions enter and what memory is."""

    config: SegmentedConfig
    head: TiedSoftmax | AdaptiveSoftmax | ProjectedSoftmax | EmbeddingLogisticMixture
    blocks: nn.ModuleList

    def __init__(self, config: SegmentedConfig, ops: Ops):
        super().__init__()
        self.config = config
        self.ops = ops
        self.head = self._head()
        self.blocks = nn.ModuleList(self._block(layer) for layer in range(config.num_layers))
        self.final_norm = nn.LayerNorm(config.d_model) if config.pre_norm else nn.Identity()
        self.dropout = nn.Dropout(config.dropout)

    def _head(self) -> TiedSoftmax | AdaptiveSoftmax | ProjectedSoftmax | EmbeddingLogisticMixture:
        c = self.config
        if c.head == "logistic-mixture":
            return EmbeddingLogisticMixture(c.vocab_size, c.d_model, c.num_logistics)
        if c.projected:
            projected = c.projected
            return ProjectedSoftmax(
                c.vocab_size, c.d_model, c.cutoffs, int(c.div_value), projected.d_embed, projected.tied
            )
        if c.cutoffs:
            return AdaptiveSoftmax(c.vocab_size, c.d_model, c.cutoffs, c.div_value)
        return TiedSoftmax(c.vocab_size, c.d_model)

    def _blocks(self) -> Iterator[Block]:
        return cast(Iterator[Block], iter(self.blocks))

    def stack(self) -> nn.ModuleList:
        return self.blocks

    def _block(self, layer: int) -> Block:
        c = self.config
        attention = SelfAttention(c.d_model, c.num_heads, c.head_dim, c.attention_dropout, self.ops)
        weighted = (c.admin and layer > 0, c.admin)
        inner = feed_forward(c.d_model, c.d_inner, c.dropout)
        return Block(attention, inner, c.d_model, c.dropout, c.pre_norm, weighted)

    def reset_parameters(self) -> None:
        """The published initialisation: weights N(0, std), LN gains N(1, std), biases 0."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, 0, self.config.init_std)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif isinstance(module, nn.LayerNorm):
                nn.init.normal_(module.weight, 1, self.config.init_std)
                nn.init.zeros_(module.bias)
        self.head.reset_parameters(self.config.init_std)

    def embed(self, inputs: Int[Tensor, "B T"], offset: int) -> Float[Tensor, "B T d"]:
        """Vectors of tokens, the first of which is token ``offset`` of its segment."""
        return self.dropout(self.head.embed(inputs))

    def parts(self, layer: int) -> dict[str, int]:
        """Names and slots of a layer's memories, in the order of their keys."""
        return {}

    def num_slots(self, layer: int) -> int:
        """Slots of memory of a layer."""
        return sum(self.parts(layer).values())

    def relative_terms(self, num_keys: Sequence[int], cached: tuple[Tensor, ...]) -> Sequence[RelativeTerms | None]:
        """For each layer the relative positions of its ``num_keys`` keys, from a cache if there is one."""
        return [None] * self.config.num_layers

    def band(self, layer: int, num_keys: int) -> Band:
        """Which of the ``num_keys`` keys up to its own a token sees."""
        return Band(num_keys - 1)

    def slots_valid(self, layer: int, filled: Int[Tensor, "B"]) -> Bool[Tensor, "B M"] | None:
        """Which memory slots of a layer take part when ``filled`` tokens have gone into memory; None for all."""
        return None

    def keeps_graph(self, position: int) -> bool:
        """Whether gradients may flow through memory across the border at ``position``."""
        return False

    def init_state(self, batch_size: int) -> SegmentedState:
        c, like = self.config, next(self.parameters())
        past = tuple(like.new_zeros(batch_size, self.num_slots(i), c.d_model) for i in range(c.num_layers))
        return SegmentedState(past, torch.zeros(batch_size, dtype=torch.int64, device=like.device), 0)

    @torch.no_grad()
    def generation_state(self, state: State) -> SegmentedState:
        """Keys and values instead of inputs, so that a step projects one token; valid for fixed weights."""
        assert isinstance(state, SegmentedState)
        if state.is_cached:
            return state
        past = tuple(block.keys_values(x) for block, x in zip(self._blocks(), state.past, strict=True))
        num_keys = [self.num_slots(layer) + self.config.segment_len for layer in range(self.config.num_layers)]
        relative = tuple(term.r for term in self.relative_terms(num_keys, ()) if term is not None)
        return replace(state, past=past, relative=relative)

    def generation_step(self, state: State) -> GenerationStep:
        cached = self.generation_state(state)
        program = None if self.training else self.step_program(cached)
        step = None if program is None else self.ops.compile_step(program)
        return super().generation_step(cached) if step is None else SegmentedStep(self, cached, step)

    def step_program(self, state: SegmentedState) -> StepProgram | None:
        """The layers as a generation state's steps go through them; None for a model whose steps do more than that."""
        num_keys = [self.num_slots(layer) + self.config.segment_len for layer in range(self.config.num_layers)]
        num_seen = [self.band(layer, count).num_columns for layer, count in enumerate(num_keys)]
        terms = self.relative_terms(num_keys, state.relative)
        layers = map(Block.description, self._blocks(), num_seen, terms)
        final_norm = Norm.of(self.final_norm) if isinstance(self.final_norm, nn.LayerNorm) else None
        return StepProgram(tuple(layers), final_norm)

    def step_buffers(self, state: SegmentedState) -> StepBuffers:
        """A generation state with room for the rest of its segment."""
        room = self.config.segment_len - state.position % self.config.segment_len
        past = [with_room(layer, room) for layer in state.past]
        valid = [self._keys_valid(layer, state.filled, columns.shape[1]) for layer, columns in enumerate(past)]
        restricting = [None if layer is None or layer.all() else layer for layer in valid]
        return StepBuffers(past, restricting, [None] * len(past), room)

    def after_steps(self, state: SegmentedState, buffers: StepBuffers) -> SegmentedState:
        """The generation state that ``state`` has become through steps on its buffers."""
        begin = state.position - state.position % self.config.segment_len
        past = tuple(without_room(columns, buffers.room) for columns in buffers.keys_values)
        return replace(state, past=past, position=begin + self.config.segment_len - buffers.room)

    def forward(self, inputs: Int[Tensor, "B T"], state: State | None = None) -> Output:
        """Hidden states of the last layer ``[B, T, d]``, position t for token t + 1, and the state after the call.

        Extra losses are the mean over the segments that end in the call.
        """
        state = self.init_state(inputs.shape[0]) if state is None else state
        assert isinstance(state, SegmentedState)
        hidden: list[Tensor] = []
        losses: list[dict[str, Tensor]] = []
        for piece in split_at_borders(inputs, state.position, self.config.segment_len):
            x, passes = self._through_layers(piece, state)
            state = self._extended(state, passes)
            if state.position % self.config.segment_len == 0:
                state, border_losses = self.at_border(state, passes)
                losses.append(border_losses)
            hidden.append(self.dropout(self.final_norm(x)))
        names = losses[0] if losses else ()
        means = {name: torch.stack([at_border[name] for at_border in losses]).mean() for name in names}
        return Output(torch.cat(hidden, 1), state, means)

    @torch.no_grad()
    def attention_mass(self, inputs: Int[Tensor, "B T"], state: State) -> list[dict[str, Float[Tensor, "M"]]]:
        """How attention spreads over memory and segment (the analysis of Rae et al. 2019, section 5.6).

        Args:
            inputs: a whole segment, T = ``segment_len``.
            state: at a segment's start.

        Returns:
            For each layer, by part (``"memory"``, ``"segment"``, ...), the average weight of each of its keys, oldest
            first, over batch, heads and queries. The weights of a layer sum to 1.
        """
        assert isinstance(state, SegmentedState)
        _, passes = self._through_layers(inputs, state, with_usage=True)
        result = []
        for layer, passed in enumerate(passes):
            assert passed.usage is not None
            lengths = self.parts(layer) | {"segment": inputs.shape[1]}
            weights = passed.usage.mean((0, 2)) / inputs.shape[1]
            result.append(dict(zip(lengths, weights.split(list(lengths.values())), strict=True)))
        return result

    def _through_layers(
        self, inputs: Tensor, state: SegmentedState, with_usage: bool = False
    ) -> tuple[Tensor, list[LayerPass]]:
        """The last layer's output, and what each layer met, for inputs within one segment."""
        x = self.embed(inputs, state.position % self.config.segment_len)
        num_keys = [past.shape[1] + inputs.shape[1] for past in state.past]
        terms = self.relative_terms(num_keys, state.relative)
        passes = []
        for layer, block in enumerate(self._blocks()):
            past, q, keys_values = block.extend(state.past[layer], x)
            band, valid = self.band(layer, num_keys[layer]), self._keys_valid(layer, state.filled, num_keys[layer])
            output, usage = block(x, q, keys_values, band, valid, terms[layer], with_usage)
            passes.append(LayerPass(x, past, keys_values, usage))
            x = output
        return x, passes

    def _keys_valid(self, layer: int, filled: Tensor, num_keys: int) -> Tensor | None:
        """Which of a layer's keys take part, ``[B, S]``: some of its slots, and all since the last border."""
        valid = self.slots_valid(layer, filled)
        return None if valid is None else nn.functional.pad(valid, (0, num_keys - valid.shape[1]), value=True)

    def _extended(self, state: SegmentedState, passes: list[LayerPass]) -> SegmentedState:
        """The state with a call's tokens added to the unfinished segment."""
        past = tuple(passed.past for passed in passes)
        return replace(state, past=past, position=state.position + passes[0].inputs.shape[1])

    def at_border(
        self, state: SegmentedState, passes: Sequence[LayerPass] = ()
    ) -> tuple[SegmentedState, dict[str, Tensor]]:
        """Memory takes in the finished segment; the state, and in training, which needs ``passes``, losses by name."""
        past = tuple(layer[:, layer.shape[1] - self.num_slots(i) :] for i, layer in enumerate(state.past))
        return self._rolled(state, past), {}

    def _rolled(self, state: SegmentedState, past: tuple[Tensor, ...]) -> SegmentedState:
        """The state with a new past, of which no gradient leads into the segment that ends, unless it may."""
        if not self.keeps_graph(state.position):
            past = tuple(layer.detach() for layer in past)
        return replace(state, past=past, filled=state.filled + self.config.segment_len)


def with_room(columns: Float[Tensor, "B N ..."], room: int) -> Float[Tensor, "B M ..."]:
    """A copy with ``room`` more columns, whose content is left open."""
    longer = columns.new_empty(columns.shape[0], columns.shape[1] + room, *columns.shape[2:])
    longer[:, : columns.shape[1]] = columns
    return longer


def without_room(columns: Float[Tensor, "B M ..."], room: int) -> Float[Tensor, "B N ..."]:
    """All columns but the last ``room``."""
    return columns[:, : columns.shape[1] - room]

"""The Compressive Transformer (Rae, Potapenko, Jayakumar and Lillicrap 2019, arXiv 1911.05507)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal, cast

import torch
from jaxtyping import Bool, Int
from pydantic import Field, model_validator
from torch import Tensor, nn

from seqmem.layers.attention import Block
from seqmem.layers.compression import (
    COMPRESSIONS,
    LEARNED,
    Compression,
    Decoder,
    attention_reconstruction_loss,
    auto_encoding_loss,
)
from seqmem.models.base import ModelConfig
from seqmem.models.per_layer import Lengths, per_layer, span
from seqmem.models.segmented import LayerPass, SegmentedState, with_room, without_room
from seqmem.models.transformer_xl import TransformerXL, TransformerXLConfig
from seqmem.ops import Ops, StepProgram
from seqmem.ops.step import StepBuffers
from seqmem.state import State, newest


class CompressiveTransformerConfig(TransformerXLConfig):
    """Configuration of :class:`CompressiveTransformer`; ``mem_len`` and ``cmem_len`` change no weight."""

    cmem_len: Lengths = Field(description="slots of compressed memory: of every layer, of each, or a placement")
    compression_rate: int = Field(gt=0, description="slots that become one")
    compression: Literal["max", "mean", "conv", "dilated-conv", "most-used"] = "conv"
    compression_loss: Literal["attention-reconstruction", "auto-encoding", "bptt"] | None = Field(
        None, description="what teaches a learned compression; attention-reconstruction when absent"
    )

    @model_validator(mode="after")
    def _compression_works(self):
        if self.compression not in LEARNED and self.compression_loss:
            raise ValueError(f"compression '{self.compression}' has nothing to learn; leave compression_loss out")
        if self.objective == "bptt" and self.bptt_segments < 2:
            raise ValueError("compression_loss 'bptt' learns through later segments; set bptt_segments to 2 or more")
        if self.compression_rate > self.segment_len:
            raise ValueError(f"compression_rate is above segment_len = {self.segment_len}: nothing would be kept")
        for mem_len, cmem_len in zip(self.mem_lens, self.cmem_lens, strict=True):
            if cmem_len and mem_len < self.segment_len:
                raise ValueError(
                    f"mem_len = {mem_len} is below segment_len = {self.segment_len}, which memory gives to compression "
                    "at once; raise mem_len or lower segment_len"
                )
        return self

    @property
    def cmem_lens(self) -> tuple[int, ...]:
        """Slots of compressed memory of each layer."""
        return per_layer(self.cmem_len, self.num_layers, "cmem_len")

    @property
    def objective(self) -> str | None:
        """What teaches the compression; None where there is nothing to learn."""
        return self.compression_loss or ("attention-reconstruction" if self.compression in LEARNED else None)

    @property
    def learns_apart(self) -> bool:
        """Whether a loss of its own teaches the compression, and the likelihood does not."""
        return self.objective in ("attention-reconstruction", "auto-encoding")

    @property
    def turnover(self) -> int:
        slots_a_segment = self.segment_len // self.compression_rate
        return super().turnover + -(-max(self.cmem_lens) // slots_a_segment) * self.segment_len

    @property
    def memory_note(self) -> str:
        return f"{super().memory_note} and {span(self.cmem_lens)} slots of {self.compression_rate} compressed tokens"


@dataclass(frozen=True)
class CompressiveState(SegmentedState):
    """A :class:`SegmentedState` whose slots are those of the compressed memory, then those of the memory.

    Args:
        usage: for each layer the attention that the slots next to be compressed have received from the unfinished
            segment, mean over heads ``[B, segment_len]``; empty where the compression does not ask for it.
        inputs: for generation, what ``past`` no longer holds and compression needs: for each layer the inputs of memory
            and unfinished segment ``[B, mem_len + u, d]``; empty otherwise.
    """

    usage: tuple[Tensor, ...] = ()
    inputs: tuple[Tensor, ...] = ()


class CompressiveTransformer(TransformerXL):
    """Transformer-XL that compresses what leaves its memory into a second, coarser one, instead of dropping it.

    At a segment's end every layer compresses the ``segment_len`` oldest slots of its memory, with a function of its
    own, into ``segment_len // compression_rate`` slots; attention is Transformer-XL's over [compressed | memory |
    segment]. The reconstruction losses train the compression and nothing else, the likelihood everything else.

    Where the paper is silent: the distance of a compressed slot counts slots, as in the public implementations; memory
    starts empty (``memory_init = "zeros"`` is the paper's), and a compressed slot takes part if all the slots it stands
    for did; the newest ``segment_len % compression_rate`` evicted slots are dropped; most-used goes by the attention
    from the segment at whose end slots are compressed; the losses are mean squared errors.
    """

    Config: ClassVar[type[ModelConfig]] = CompressiveTransformerConfig
    # Published: layers, width, heads, inner width, lengths, functions, and rates, of which wt103's is 4 in one place
    # and 3 in another. Ours: small and tiny, all dropouts, wt103's cutoffs and div_value, pg19-36l's widths and heads.
    # audio-40m is the experiment on speech: layers, lengths, rate and about 40M parameters published, the rest ours.
    # Its parameters, and those of audio-cpu and bytes-cpu, are counted with the compressions', which their own loss
    # trains.
    SIZES: ClassVar[dict[str, dict]] = {
        "tiny": TransformerXL.SIZES["tiny"] | dict(cmem_len=8, compression_rate=4),
        "small": TransformerXL.SIZES["small"] | dict(cmem_len=64, compression_rate=4),
        "enwik8": TransformerXL.SIZES["enwik8-large"] | dict(cmem_len=1152, compression_rate=3),
        "wt103": TransformerXL.SIZES["wt103-large"]
        | dict(segment_len=512, mem_len=512, cmem_len=512, compression_rate=4),
        "pg19-36l": dict(
            vocab_size=32000,
            num_layers=36,
            d_model=1024,
            num_heads=16,
            head_dim=64,
            d_inner=4096,
            dropout=0.1,
            segment_len=512,
            mem_len=512,
            cmem_len=512,
            compression_rate=2,
        ),
        "audio-40m": TransformerXL.SIZES["audio-40m"] | dict(d_inner=880, cmem_len=768, compression_rate=4),
        "audio-cpu": TransformerXL.SIZES["audio-cpu"]
        | dict(d_model=80, num_heads=2, head_dim=40, d_inner=280, cmem_len=512, compression_rate=4),
        "bytes-cpu": TransformerXL.SIZES["bytes-cpu"] | dict(d_inner=512, mem_len=64, cmem_len=64, compression_rate=2),
    }

    config: CompressiveTransformerConfig

    def __init__(self, config: CompressiveTransformerConfig, ops: Ops):
        super().__init__(config, ops)
        self.cmem_lens = config.cmem_lens
        make = COMPRESSIONS[config.compression]
        layers = range(config.num_layers)
        self.compressions = nn.ModuleList(make(config.d_model, config.compression_rate) for _ in layers)
        layers = layers if config.objective == "auto-encoding" else range(0)
        self.decoders = nn.ModuleList(Decoder(config.d_model, config.compression_rate) for _ in layers)

    def reset_parameters(self) -> None:
        super().reset_parameters()
        for module in self.modules():
            if isinstance(module, Compression | Decoder):
                module.reset_parameters()

    def auxiliary_parameters(self) -> list[nn.Parameter]:
        if not self.config.learns_apart:
            return []
        return [*self.compressions.parameters(), *self.decoders.parameters()]

    def parts(self, layer: int) -> dict[str, int]:
        return {"compressed": self.cmem_lens[layer], **super().parts(layer)}

    def slots_valid(self, layer: int, filled: Int[Tensor, "B"]) -> Bool[Tensor, "B M"] | None:
        memory = super().slots_valid(layer, filled)
        if memory is None or not self.cmem_lens[layer]:
            return memory
        return torch.cat([newest(self._num_compressed(layer, filled), self.cmem_lens[layer]), memory], 1)

    def _num_compressed(self, layer: int, filled: Tensor) -> Tensor:
        """Slots that compression has made of tokens alone; the first block it met may have been partly unfilled."""
        length, rate = self.config.segment_len, self.config.compression_rate
        evicted = (filled - self.mem_lens[layer]).clamp(min=0)
        of_first = self._compression(layer).whole(newest(evicted % length, length)).sum(1)
        return evicted // length * (length // rate) + of_first

    def init_state(self, batch_size: int) -> CompressiveState:
        state = super().init_state(batch_size)
        widths = [self.config.segment_len if cmem_len else 0 for cmem_len in self.cmem_lens]
        usage = tuple(state.past[0].new_zeros(batch_size, width) for width in widths if self._needs_usage)
        return CompressiveState(**vars(state), usage=usage)

    @property
    def _needs_usage(self) -> bool:
        return COMPRESSIONS[self.config.compression].needs_usage

    @torch.no_grad()
    def generation_state(self, state: State) -> CompressiveState:
        assert isinstance(state, CompressiveState)
        if state.is_cached:
            return state
        inputs = tuple(past[:, cmem_len:] for past, cmem_len in zip(state.past, self.cmem_lens, strict=True))
        cached = super().generation_state(state)
        assert isinstance(cached, CompressiveState)
        return replace(cached, inputs=inputs)

    def step_program(self, state: SegmentedState) -> StepProgram | None:
        return None if self._needs_usage else super().step_program(state)

    def step_buffers(self, state: SegmentedState) -> StepBuffers:
        assert isinstance(state, CompressiveState)
        buffers = super().step_buffers(state)
        buffers.inputs = [with_room(layer, buffers.room) for layer in state.inputs]
        return buffers

    def after_steps(self, state: SegmentedState, buffers: StepBuffers) -> SegmentedState:
        after = super().after_steps(state, buffers)
        assert isinstance(after, CompressiveState)
        inputs = tuple(without_room(columns, buffers.room) for columns in buffers.inputs if columns is not None)
        return replace(after, inputs=inputs)

    def _through_layers(
        self, inputs: Tensor, state: SegmentedState, with_usage: bool = False
    ) -> tuple[Tensor, list[LayerPass]]:
        return super()._through_layers(inputs, state, with_usage or self._needs_usage)

    def _extended(self, state: SegmentedState, passes: list[LayerPass]) -> SegmentedState:
        assert isinstance(state, CompressiveState)
        if state.usage:
            state = replace(state, usage=tuple(self._longer_usage(i, state, passes[i]) for i in range(len(passes))))
        if state.inputs:
            pairs = zip(state.inputs, passes, strict=True)
            state = replace(state, inputs=tuple(torch.cat([before, passed.inputs], 1) for before, passed in pairs))
        return super()._extended(state, passes)

    def _longer_usage(self, layer: int, state: CompressiveState, passed: LayerPass) -> Tensor:
        before = state.usage[layer]
        received = cast(Tensor, passed.usage)[:, self.cmem_lens[layer] :][:, : before.shape[1]]
        return before + received.mean(-1).to(before.dtype)

    def at_border(
        self, state: SegmentedState, passes: Sequence[LayerPass] = ()
    ) -> tuple[SegmentedState, dict[str, Tensor]]:
        assert isinstance(state, CompressiveState)
        past, losses = [], {}
        for layer in range(self.config.num_layers):
            slots = None
            if self.cmem_lens[layer]:
                slots, loss = self._compress(layer, state, passes)
                if loss is not None:
                    losses[f"{str(self.config.objective).replace('-', '_')}.{layer}"] = loss
                if state.is_cached:
                    slots = cast(Block, self.blocks[layer]).keys_values(slots)
            past.append(self._shifted(layer, state.past[layer], slots))
        usage = tuple(torch.zeros_like(used) for used in state.usage)
        inputs = tuple(layer[:, self.config.segment_len :] for layer in state.inputs)
        return self._rolled(replace(state, usage=usage, inputs=inputs), tuple(past)), losses

    def _compress(
        self, layer: int, state: CompressiveState, passes: Sequence[LayerPass]
    ) -> tuple[Tensor, Tensor | None]:
        """The slots that memory's oldest become, and, in training, the loss that teaches their compression."""
        cmem_len, length = self.cmem_lens[layer], self.config.segment_len
        leaving = slice(cmem_len, cmem_len + length)
        valid = self.slots_valid(layer, state.filled)
        valid = None if valid is None else valid[:, leaving]
        inputs = state.inputs[layer] if state.is_cached else state.past[layer][:, cmem_len:]
        evicted = inputs[:, :length] if valid is None else inputs[:, :length] * valid[..., None]
        usage = state.usage[layer] if state.usage else None
        if usage is not None and valid is not None:
            usage = usage.masked_fill(~valid, -1)

        if not self.config.learns_apart:
            return self._compression(layer)(evicted, usage), None
        evicted = evicted.detach()
        slots = self._compression(layer)(evicted, usage)
        loss = None
        if self.training and torch.is_grad_enabled():
            segment = inputs[:, self.mem_lens[layer] :]
            loss = self._loss(layer, segment, evicted, passes[layer].keys_values[:, leaving], valid, slots)
        return slots.detach(), loss

    def _loss(
        self, layer: int, segment: Tensor, evicted: Tensor, keys_values: Tensor, valid: Tensor | None, slots: Tensor
    ) -> Tensor:
        compression = self._compression(layer)
        whole = None if valid is None else compression.whole(valid)
        if self.config.objective == "auto-encoding":
            return auto_encoding_loss(cast(Decoder, self.decoders[layer]), compression.grouped(evicted), slots, whole)
        block = cast(Block, self.blocks[layer])
        return attention_reconstruction_loss(block, segment, (keys_values, valid), (slots, whole))

    def _compression(self, layer: int) -> Compression:
        return cast(Compression, self.compressions[layer])

    def _shifted(self, layer: int, past: Tensor, slots: Tensor | None) -> Tensor:
        """``past`` after a border: the oldest slots make room for what memory gives, and memory for the segment."""
        cmem_len = self.cmem_lens[layer]
        memory = past[:, cmem_len + self.config.segment_len :]
        if slots is None:
            return memory
        oldest = min(slots.shape[1], cmem_len)
        return torch.cat([past[:, oldest:cmem_len], slots[:, -cmem_len:], memory], 1)

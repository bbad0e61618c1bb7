"""Who sees whom: the patterns that a model's layers ask for, as masks."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Bool
from torch import Tensor

from seqmem.errors import SeqmemError
from seqmem.models import ENCODERS, MODELS, CausalModel, Encoder, ModelConfig
from seqmem.models.encoder import EncoderConfig
from seqmem.ops import Band, bind
from seqmem.ops.pattern import Pattern
from seqmem.report.layered import LayeredOps, follow

SHADES = " ░▒▓█"


@dataclass(frozen=True)
class RecordingOps(LayeredOps):
    """Operations that remember, for each layer, the masks of its last call."""

    masks: dict[int, list[Tensor]] = field(default_factory=dict)

    def enter(self, layer: int) -> None:
        """What follows belongs to this layer, and replaces what it asked for before."""
        super().enter(layer)
        self.masks[layer] = []

    def attend(self, q, k, v, pattern, *, bias=None, valid=None, **options):
        mask = _four_axes(pattern.to_mask(q.shape[1], k.shape[1]))
        if valid is not None:
            mask = mask & valid[:, None, None]
        if bias is not None:
            mask = mask & _is_on(bias, pattern, *mask.shape[2:])
        self._record(mask[0])
        return super().attend(q, k, v, pattern, bias=bias, valid=valid, **options)

    def band_pv(self, p, v, band):
        self._record(_four_axes(band.to_mask(p.shape[1], v.shape[1]))[0])
        return super().band_pv(p, v, band)

    def _record(self, mask: Bool[Tensor, "#H T S"]) -> None:
        self.masks[self.layer].append(mask)


@torch.no_grad()
def attention_masks(config: ModelConfig | EncoderConfig, length: int) -> list[Bool[Tensor, "H T S"]]:
    """For each layer what ``length`` tokens see, of an encoder without global tokens, which are no part of the model.

    A causal model's memory is full: keys before the tokens first, their own last.

    Raises:
        SeqmemError: the model has no attention.
    """
    ops = RecordingOps(bind("pytorch").preference)
    models = ENCODERS if isinstance(config, EncoderConfig) else MODELS
    model = models.build(config, ops).eval()
    num_layers = follow(model, ops)
    _read(model, length)
    found = [ops.masks[layer] for layer in range(num_layers) if ops.masks.get(layer)]
    if not found:
        raise SeqmemError(
            f"{type(model).__name__} asks no operation to attend, so there is no mask to show; name another model"
        )
    return [_union(masks) for masks in found]


def _read(model: CausalModel | Encoder, length: int) -> None:
    """Have a model read ``length`` tokens, or the most that it takes; a causal one with its memory full."""
    if isinstance(model, Encoder):
        model(torch.zeros(1, min(length, model.config.max_len), dtype=torch.int64))
        return
    config = model.config
    segments = -(-config.turnover // config.segment_len)
    state = model(torch.zeros(1, segments * config.segment_len, dtype=torch.int64)).state
    model(torch.zeros(1, min(length, config.segment_len), dtype=torch.int64), state)


def drawn(mask: Bool[Tensor, "T S"], width: int) -> str:
    """A mask as text of at most ``width`` columns, a shade for how much of a cell is seen."""
    step = -(-mask.shape[1] // width)
    rows = torch.nn.functional.avg_pool2d(
        mask[None].double(), (2 * step, step), ceil_mode=True, count_include_pad=False
    )
    levels = (rows[0] * (len(SHADES) - 1)).ceil().int()
    return "\n".join("".join(SHADES[level] for level in row) for row in levels.tolist())


def _is_on(bias: Tensor, pattern: Pattern, num_queries: int, num_keys: int) -> Bool[Tensor, "1 #H #T S"]:
    """Where the columns of a bias that all rows share are not switched off by -inf."""
    on = (bias != -torch.inf)[:1].transpose(1, 2)
    if not isinstance(pattern, Band):
        return on
    position = torch.arange(num_queries)[:, None] + num_keys - num_queries
    steps = torch.arange(num_keys) - position
    left = pattern.hull().left
    by_head = []
    for head, band in enumerate(pattern.of_heads(on.shape[1])):
        column = (steps // band.dilation + left).clamp(0, on.shape[3] - 1)
        by_head.append(on[0, head].expand(num_queries, -1).gather(1, column))
    return torch.stack(by_head)[None]


def _four_axes(mask: Tensor) -> Tensor:
    return mask[(None,) * (4 - mask.dim())]


def _union(masks: Sequence[Tensor]) -> Tensor:
    """What is seen in any of a layer's calls; keys of another number are keys of their own, and stand before."""
    by_num_keys: dict[int, Tensor] = {}
    for mask in masks:
        num_keys = mask.shape[-1]
        by_num_keys[num_keys] = by_num_keys[num_keys] | mask if num_keys in by_num_keys else mask
    first, *others = by_num_keys.values()
    return torch.cat([other.expand(len(first), -1, -1) for other in others] + [first], -1) if others else first

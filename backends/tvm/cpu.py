"""The CPU kernels as functions of tensors: how a call is cut into tasks, and what the kernels are told about it."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from seqmem.ops.backend import Attention, Gradients
from seqmem.ops.pattern import Band, Blocks, Dense, Pattern

from .arguments import LAYOUTS, Argument
from .kernels.workspace import (
    attend_areas,
    attend_backward_areas,
    attend_one_areas,
    band_pv_areas,
    band_pv_t_areas,
    band_qk_areas,
    padded,
)
from .library import expect, kernel
from .runs import runs
from .spec import Spec, host_isa
from .tiles import UNTUNED, Tiles, tiles_for

CHUNK_QUERIES = 1024
UNITS_A_THREAD = 8
LEAST_BLOCKS = 4
"""Blocks of queries in a part, at least: what a part packs should serve more than a few."""
TILES_OF_ANY = 512
"""Dense attention has no window of its own; it takes the tiles of this one."""


@dataclass(frozen=True)
class Walk:
    """Which keys each query sees, and the lengths: query i of T stands at key ``i + offset`` of S.

    A query at m sees the keys m - left ... m + right, and reads column ``n - shift * m + origin`` for key n.
    """

    T: int
    S: int
    offset: int
    left: int
    right: int
    dilation: int
    columns: int
    shift: int
    origin: int

    @classmethod
    def of(cls, pattern: Pattern, T: int, S: int) -> "Walk":
        if isinstance(pattern, Dense):
            return cls(T, S, 0, T, S, 1, columns=S, shift=0, origin=0)
        if isinstance(pattern, Blocks):
            return cls(T, S, S - T, S, 0 if pattern.causal else S, 1, columns=S, shift=0, origin=0)
        assert isinstance(pattern, Band)
        left, right = pattern.left, pattern.right
        return cls(T, S, S - T, left, right, pattern.dilation, columns=left + right + 1, shift=1, origin=left)


class Cut:
    """How the work of a call is shared: what the kernels' walk is told, and the workspace it needs.

    Args:
        whole_sequences: a unit of work keeps the sums of all of its keys, so time is only cut where there are fewer
            sequences than threads; otherwise until the units fall evenly on the threads.
    """

    def __init__(self, spec: Spec, walk: Walk, B: int, H: int, whole_sequences: bool):
        self.spec, self.walk, self.B, self.H = spec, walk, B, H
        self.num_tasks = torch.get_num_threads()
        sequences, longest = B * H * walk.dilation, max(1, -(-walk.T // walk.dilation))
        self.parts = 1
        if whole_sequences and sequences:
            self.parts = -(-self.num_tasks // sequences)
        elif not whole_sequences:
            while self._uneven(sequences) and longest > LEAST_BLOCKS * spec.tiles.queries * self.parts:
                self.parts += 1
        self.part_queries = -(-longest // self.parts)
        self.chunk_queries = min(self.part_queries, max(CHUNK_QUERIES, 4 * (walk.left + walk.right)))
        seen = min(-(-walk.S // walk.dilation), self.chunk_queries + walk.left + walk.right)
        self.window = padded(seen, spec.columns)
        self.num_units = sequences * self.parts

    def _uneven(self, sequences: int) -> bool:
        units = sequences * self.parts
        return units % self.num_tasks != 0 and units < UNITS_A_THREAD * self.num_tasks

    def numbers(self, areas: dict[str, int], like: Tensor) -> dict[str, Argument]:
        """The arguments that say how to walk, with a workspace of ``areas`` for every task."""
        walk, size = self.walk, sum(areas.values())
        return {
            "batch": self.B,
            "heads": self.H,
            "queries": walk.T,
            "keys": walk.S,
            "offset": walk.offset,
            "left": walk.left,
            "right": walk.right,
            "dilation": walk.dilation,
            "parts": self.parts,
            "part_queries": self.part_queries,
            "chunk_queries": self.chunk_queries,
            "window": self.window,
            "task_workspace": size,
            "workspace": like.new_empty(self.num_tasks * size),
        }

    def run(self, given: dict[str, Argument]) -> None:
        kernel(self.spec).run(LAYOUTS[self.spec.kernel].pack(given), self.num_tasks)


def band_qk(q: Tensor, k: Tensor, band: Band, tiles: Tiles | None = None) -> Tensor:
    """``q [B, T, H, D], k [B, S, H, D] -> [B, T, H, C]`` unscaled, 0 outside the keys."""
    cut = _cut("band_qk", q, k, k, band, tiles)
    out = q.new_empty(*q.shape[:3], band.num_columns)
    cut.run(cut.numbers(band_qk_areas(cut.spec, cut.window), q) | {"q": _rows(q), "k": _rows(k), "out": out})
    return out


def band_pv(p: Tensor, v: Tensor, band: Band, tiles: Tiles | None = None) -> Tensor:
    """``p [B, T, H, C], v [B, S, H, E] -> [B, T, H, E]``; p outside the keys is ignored."""
    cut = _cut("band_pv", p, v, v, band, tiles)
    out = v.new_empty(*p.shape[:3], v.shape[3])
    areas = band_pv_areas(cut.spec, cut.window)
    cut.run(cut.numbers(areas, v) | {"p": _rows(p.to(v.dtype)), "v": _rows(v), "out": out})
    return out


def band_pv_t(p: Tensor, g: Tensor, band: Band, num_keys: int, tiles: Tiles | None = None) -> Tensor:
    """``p [B, T, H, C], g [B, T, H, E] -> [B, S, H, E]``; p outside the keys is ignored."""
    keys = g.new_empty(0).expand(g.shape[0], num_keys, g.shape[2], 0)
    cut = _cut("band_pv_t", p, keys, g, band, tiles)
    out = g.new_empty(cut.parts, g.shape[0], num_keys, *g.shape[2:])
    areas = band_pv_t_areas(cut.spec, cut.window)
    cut.run(cut.numbers(areas, g) | {"p": _rows(p.to(g.dtype)), "g": _rows(g), "out": out})
    return _total(out)


def attend(call: Attention, tiles: Tiles | None = None) -> tuple[Tensor, Tensor]:
    """``(out [B, T, H, E], lse [B, T, H])`` of a call on a Band, Dense or Blocks."""
    one = call.q.shape[1] == 1 and not call.dropout
    cut = _cut(_kernel("attend_one" if one else "attend", call.pattern), call.q, call.k, call.v, call.pattern, tiles)
    out = call.v.new_empty(*call.q.shape[:3], call.v.shape[3])
    lse = call.q.new_empty(call.q.shape[:3])
    given = _operands(call, cut) | {"out": out, "lse": lse}
    areas = attend_one_areas(cut.spec, cut.window) if one else attend_areas(cut.spec, cut.window, given["rel_columns"])
    if call.q.requires_grad or call.k.requires_grad or call.v.requires_grad:
        expect(replace(cut.spec, kernel=_kernel("attend_backward", call.pattern)))
    cut.run(cut.numbers(areas, call.q) | given)
    return out, lse


def attend_backward(
    call: Attention, out: Tensor, lse: Tensor, dout: Tensor, dlse: Tensor, tiles: Tiles | None = None
) -> Gradients:
    """Gradients of :func:`attend`."""
    cut = _cut(_kernel("attend_backward", call.pattern), call.q, call.k, call.v, call.pattern, tiles)
    q, columns = call.q, cut.walk.columns
    by_column = call.bias is not None and call.bias_needs_grad and call.bias.shape[1] == 1
    by_query = call.bias is not None and call.bias_needs_grad and not by_column
    found: dict[str, Tensor | None] = {
        "dq": q.new_empty(q.shape),
        "dk": q.new_empty(cut.parts, *call.k.shape),
        "dv": q.new_empty(cut.parts, *call.v.shape),
        "dqr": None if call.qr is None else q.new_empty(q.shape),
        "dr": None if call.r is None else q.new_empty(cut.num_units, columns, q.shape[3]),
        "bias_columns": q.new_empty(cut.num_units, columns) if by_column else None,
        "bias_rows": q.new_zeros(*q.shape[:3], columns) if by_query else None,
    }
    given = _operands(call, cut) | found
    given |= {"out": _rows(out), "lse": lse.contiguous(), "dout": _rows(dout), "dlse": dlse.contiguous()}
    given |= {"wants_bias_columns": int(by_column), "wants_bias_rows": int(by_query)}
    areas = attend_backward_areas(cut.spec, cut.window, given["rel_columns"], columns)
    cut.run(cut.numbers(areas, q) | given)
    return _gradients(call, cut, found)


def _gradients(call: Attention, cut: Cut, found: dict[str, Tensor | None]) -> Gradients:
    """Units' own sums added up in their order."""
    sequences = (cut.B, cut.H, cut.walk.dilation * cut.parts, cut.walk.columns)
    dbias, dr = found["bias_rows"], found["dr"]
    if (by_column := found["bias_columns"]) is not None:
        dbias = by_column.view(sequences).sum(2)[:, None]
    if dbias is not None and call.bias is not None:
        dbias = dbias.sum_to_size(call.bias.shape)
    if dr is not None:
        dr = dr.view(*sequences, call.q.shape[3]).sum((0, 2)).transpose(0, 1)
    dq, dk, dv = found["dq"], found["dk"], found["dv"]
    assert dq is not None
    assert dk is not None
    assert dv is not None
    return Gradients(dq, _total(dk), _total(dv), dbias, found["dqr"], dr)


def _cut(name: str, queries: Tensor, keys: Tensor, values: Tensor, pattern: Pattern, tiles: Tiles | None) -> Cut:
    """The cut of a call with operands of these shapes: ``queries [B, T, H, .], keys [B, S, H, .], values [.., E]``."""
    B, T, H = queries.shape[:3]
    walk = Walk.of(pattern, T, keys.shape[1])
    dtype, isa = str(values.dtype).removeprefix("torch."), host_isa()
    width = values.shape[3] if name in ("band_pv", "band_pv_t") else queries.shape[3]
    window = walk.left + walk.right + 1 if isinstance(pattern, Band) else TILES_OF_ANY
    tiles = tiles or (UNTUNED[isa] if name.endswith("_one") else tiles_for(isa, dtype, width, window))
    spec = Spec(name, dtype, width, values.shape[3], tiles, isa)
    return Cut(spec, walk, B, H, whole_sequences=name.endswith(("backward", "_t")))


def _kernel(name: str, pattern: Pattern) -> str:
    """The kernel for a pattern that does the work of ``name``."""
    return name.replace("attend", "attend_blocks") if isinstance(pattern, Blocks) else name


def _operands(call: Attention, cut: Cut) -> dict[str, Argument]:
    """What the forward and the backward kernel are both given."""
    has_rel, columns = call.r is not None, cut.walk.columns
    bias = None if call.bias is None else _rows(call.bias.to(call.q.dtype).expand(*call.q.shape[:3], columns))
    valid = None if call.valid is None else call.valid.contiguous()
    return {
        "q": _rows(call.q),
        "k": _rows(call.k),
        "v": _rows(call.v),
        "qr": None if call.qr is None else _rows(call.qr.to(call.q.dtype)),
        "r": None if call.r is None else call.r.to(call.q.dtype).contiguous(),
        "bias": bias,
        "valid": valid,
        "dropout_keys": None if call.dropout_keys is None else call.dropout_keys.contiguous(),
        "columns": columns,
        "rel_columns": padded(columns, cut.spec.columns) if has_rel else 0,
        "shift": cut.walk.shift,
        "origin": cut.walk.origin,
        "has_rel": int(has_rel),
        "has_bias": int(bias is not None),
        "has_valid": int(valid is not None),
        "threshold": int(call.dropout * 2**32),
        "scale": float(call.scale),
        "keep_scale": 1 / (1 - call.dropout),
    } | (runs(call.pattern, call.k.shape[1]) if isinstance(call.pattern, Blocks) else {})


def _rows(tensor: Tensor) -> Tensor:
    """The tensor with its last numbers side by side."""
    return tensor if tensor.stride(-1) == 1 else tensor.contiguous()


def _total(parts: Tensor) -> Tensor:
    return parts[0] if len(parts) == 1 else parts.sum(0)

"""What a kernel is given: one array of 64-bit slots, laid out here once for those who fill it and those who read it."""

from dataclasses import dataclass, replace
from functools import cached_property
from struct import Struct
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from torch import Tensor  # the process that compiles has none

Argument: TypeAlias = "Tensor | int | float | None"

GEOMETRY = (
    "batch", "heads", "queries", "keys", "offset", "left", "right", "dilation",
    "parts", "part_queries", "chunk_queries", "window", "task_workspace",
)  # fmt: skip
"""A task's walk: query i stands at key ``i + offset``; a chunk sees at most ``window`` keys, whole panels."""
EXTRAS = ("columns", "rel_columns", "shift", "origin", "has_rel", "has_bias", "has_valid", "threshold")
"""Query m sees key n in column ``n - shift * m + origin`` of bias and rel; 0 in a flag switches an operand off."""


@dataclass(frozen=True)
class Layout:
    """Slots of one kernel: num_tasks, strided tensors (address and three strides), addresses, integers, reals.

    Args:
        tensors: ``[B, T, H, ...]`` with a last stride of 1; the strides follow as NAME_batch, NAME_time, NAME_head.
        addresses: contiguous tensors.
    """

    tensors: tuple[str, ...]
    addresses: tuple[str, ...]
    integers: tuple[str, ...]
    reals: tuple[str, ...] = ()

    @cached_property
    def slots(self) -> dict[str, int]:
        names = ["num_tasks"]
        for tensor in self.tensors:
            names += [tensor, f"{tensor}_batch", f"{tensor}_time", f"{tensor}_head"]
        names += [*self.addresses, *self.integers, *self.reals]
        return {name: slot for slot, name in enumerate(names)}

    @cached_property
    def _struct(self) -> Struct:
        return Struct(f"{len(self.slots) - 1 - len(self.reals)}q{len(self.reals)}d")

    def pack(self, given: dict[str, Any]) -> bytes:
        """All slots after num_tasks; a tensor that is None has an address and strides of 0.

        Args:
            given: a value for every name, by its kind: a tensor or None, an integer, a real.
        """
        numbers: list[int | float] = []
        for name in self.tensors:
            tensor = given[name]
            numbers += (0, 0, 0, 0) if tensor is None else (tensor.data_ptr(), *tensor.stride()[:3])
        numbers += [0 if (tensor := given[name]) is None else tensor.data_ptr() for name in self.addresses]
        return self._struct.pack(*numbers, *[given[name] for name in self.integers + self.reals])


DTYPES = {"valid": "bool", "dropout_keys": "int64", "first_run": "int64", "runs": "int64"}
"""Of operands that are not numbers of the kernel's own dtype."""


def with_runs(layout: Layout) -> Layout:
    """With the runs of keys that each row of a layout of blocks sees, see :mod:`.kernels.run_walk`."""
    addresses, integers = ("first_run", "runs"), ("block_size", "num_rows", "layout_heads")
    return replace(layout, addresses=layout.addresses + addresses, integers=layout.integers + integers)


ATTEND = Layout(
    tensors=("q", "k", "v", "qr", "bias"),
    addresses=("r", "valid", "dropout_keys", "out", "lse", "workspace"),
    integers=GEOMETRY + EXTRAS,
    reals=("scale", "keep_scale"),
)
ATTEND_BACKWARD = Layout(
    tensors=("q", "k", "v", "qr", "bias", "out", "dout", "bias_rows"),
    addresses=(
        "r",
        "valid",
        "dropout_keys",
        "lse",
        "dlse",
        "dq",
        "dk",
        "dv",
        "dqr",
        "dr",
        "bias_columns",
        "workspace",
    ),
    integers=GEOMETRY + EXTRAS + ("wants_bias_columns", "wants_bias_rows"),
    reals=("scale", "keep_scale"),
)
ATTEND_BLOCKS = with_runs(ATTEND)
ATTEND_BLOCKS_BACKWARD = with_runs(ATTEND_BACKWARD)
BAND_QK = Layout(("q", "k"), ("out", "workspace"), GEOMETRY)
BAND_PV = Layout(("p", "v"), ("out", "workspace"), GEOMETRY)
BAND_PV_T = Layout(("p", "g"), ("out", "workspace"), GEOMETRY)
GATED_LOOP = Layout(
    tensors=(),
    addresses=(
        "first", "first_bias", "gates", "gates_bias", "out", "out_bias", "skip", "skip_bias",
        "hidden", "hidden_bias", "head", "head_bias",
        "rings", "dilations", "token_ring", "token", "noise", "forced", "tokens", "log_probs", "workspace",
    ),
    integers=(
        "batch", "num_layers", "num_tokens", "position", "conditioned", "num_ids", "num_phases", "choosing",
        "task_workspace",
    ),
    reals=("temperature", "top_p", "least_log_scale", "most_log_scale"),
)  # fmt: skip
"""``rings`` and ``dilations`` are int64 tables by layer; ``conditioned`` is 1 where every stream has a gates_bias of
its own, ``choosing`` 0 where tokens are forced."""
LAYOUTS = {
    "attend": ATTEND,
    "attend_one": ATTEND,
    "attend_backward": ATTEND_BACKWARD,
    "attend_blocks": ATTEND_BLOCKS,
    "attend_blocks_one": ATTEND_BLOCKS,
    "attend_blocks_backward": ATTEND_BLOCKS_BACKWARD,
    "band_qk": BAND_QK,
    "band_pv": BAND_PV,
    "band_pv_t": BAND_PV_T,
}

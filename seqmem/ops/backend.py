"""What a backend is: three band kernels, and whatever else it can do better than the defaults."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from seqmem.errors import SeqmemError
from seqmem.ops.pattern import Band, Pattern

BAND_KERNELS = ("band_qk", "band_pv", "band_pv_t")
TIERS: dict[int, tuple[str, ...]] = {
    0: BAND_KERNELS,
    1: ("attend",),
    2: ("scan", "linear_attention", "causal_conv1d"),
    3: ("compile_step", "compile_loop"),
}


class BackendUnsupported(SeqmemError):
    """No backend of the preference takes the call; the message names every candidate and every reason."""


@dataclass(frozen=True)
class Signature:
    """What a choice of backend may depend on: never a length, so that one decision serves every call of a kind.

    Args:
        op: name of the operation, as in :data:`TIERS`.
        pattern: name of the pattern's class, empty where the operation has none.
        dilated: a Band with dilation above 1.
        dtype: of the inputs.
        device: device type, such as ``"cpu"``.
        needs_grad: some operand wants a gradient.
        operands: which optional operands are present: ``bias``, ``rel``, ``valid``, ``dropout``.
    """

    op: str
    pattern: str
    dilated: bool
    dtype: torch.dtype
    device: str
    needs_grad: bool = False
    operands: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Attention:
    """One call of fused attention: everything a kernel needs. ``scores = scale * (q.k + qr.r) + bias``."""

    q: Float[Tensor, "B T H D"]
    k: Float[Tensor, "B S H D"]
    v: Float[Tensor, "B S H E"]
    pattern: Pattern
    scale: float
    bias: Float[Tensor, "#B #T #H N"] | None = None
    qr: Float[Tensor, "B T H D"] | None = None
    r: Float[Tensor, "C H D"] | None = None
    valid: Bool[Tensor, "B S"] | None = None
    dropout: float = 0.0
    dropout_keys: Int[Tensor, "B H"] | None = None
    bias_needs_grad: bool = False


class Gradients(NamedTuple):
    """Gradients of the operands of :class:`Attention`; None for one that is absent or wants none."""

    q: Tensor
    k: Tensor
    v: Tensor
    bias: Tensor | None = None
    qr: Tensor | None = None
    r: Tensor | None = None


class AttentionBackend(ABC):
    """Base of every backend. Bands given to a backend have plain integer fields; inputs may be non-contiguous.

    A subclass declares what it takes through the class attributes and, where that is not enough, by extending
    :meth:`unsupported`. It overrides :meth:`attend` and :meth:`attend_backward` if it has fused attention, and may
    define the tier 2 operations under their names, as differentiable functions with the signatures of
    :mod:`seqmem.ops.recurrence`, and tier 3: ``compile_step(program: StepProgram) -> Step``, a whole step of generation
    (see :mod:`seqmem.ops.step`), and ``compile_loop(program: ConvolutionProgram) -> Loop``, many of them with the
    choices between (see :mod:`seqmem.ops.loop`). Without them, the model's own forward takes the steps.
    """

    name: ClassVar[str]
    dtypes: ClassVar[tuple[torch.dtype, ...]] = (torch.float32,)
    devices: ClassVar[tuple[str, ...]] = ("cpu",)
    attend_patterns: ClassVar[tuple[str, ...]] = ()
    auto_rank: ClassVar[Mapping[str, int]] = MappingProxyType({})
    """By device type: ``auto`` tries backends from the highest rank down, and leaves out those that name no rank."""

    def unavailable(self) -> str | None:
        """Why nothing works on this machine (a missing package, driver or device), with the mending command."""
        return None

    def offers(self, op: str) -> bool:
        """Whether the operation is implemented here at all."""
        if op == "attend":
            return bool(self.attend_patterns)
        return op in BAND_KERNELS or callable(getattr(self, op, None))

    def unsupported(self, call: Signature) -> list[str]:
        """Every reason why this backend cannot take the call; empty if it can."""
        reasons = []
        if call.dtype not in self.dtypes:
            known = ", ".join(str(dtype).removeprefix("torch.") for dtype in self.dtypes)
            reasons.append(f"dtype {str(call.dtype).removeprefix('torch.')} is not among {known}")
        if call.device not in self.devices:
            reasons.append(f"device {call.device} is not among {', '.join(self.devices)}")
        if not self.offers(call.op):
            reasons.append(f"it has no {call.op}")
        elif call.op == "attend" and call.pattern not in self.attend_patterns:
            reasons.append(f"its attend does not take {call.pattern}")
        return reasons

    @abstractmethod
    def band_qk(self, q: Float[Tensor, "B T H D"], k: Float[Tensor, "B S H D"], band: Band) -> Float[Tensor, "B T H C"]:
        """Unscaled scores along the band, 0 in columns outside the keys; float32 for half inputs."""

    @abstractmethod
    def band_pv(self, p: Float[Tensor, "B T H C"], v: Float[Tensor, "B S H E"], band: Band) -> Float[Tensor, "B T H E"]:
        """Weighted sum of values, in v's dtype; ignores p outside the keys, even NaN there. p may be float32."""

    @abstractmethod
    def band_pv_t(
        self, p: Float[Tensor, "B T H C"], g: Float[Tensor, "B T H E"], band: Band, num_keys: int
    ) -> Float[Tensor, "B S H E"]:
        """Transpose of :meth:`band_pv` in v: key j collects ``p * g`` of every query that sees it, in g's dtype."""

    def attend(self, call: Attention) -> tuple[Float[Tensor, "B T H E"], Float[Tensor, "B T H"]]:
        """Fused attention: ``(out, lse)``, lse of the scores before dropout; a query without keys gives 0 and -inf."""
        raise NotImplementedError(f"backend {self.name} has no fused attend")

    def attend_backward(self, call: Attention, out: Tensor, lse: Tensor, dout: Tensor, dlse: Tensor) -> Gradients:
        """Gradients of :meth:`attend`, scores recomputed; exactly 0 for a query without keys."""
        raise NotImplementedError(f"backend {self.name} has no fused attend")


def accumulation_dtype(dtype: torch.dtype) -> torch.dtype:
    """The dtype sums and lse are kept in: float64 for float64, else float32."""
    return torch.float64 if dtype == torch.float64 else torch.float32

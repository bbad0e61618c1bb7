"""Ops: the operations of the waist, bound to a preference of backends. All that a layer may call."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from seqmem.ops import autograd, defaults, dispatch, recurrence, registry, unfused
from seqmem.ops.autocast import lowered, suspended
from seqmem.ops.backend import TIERS, Attention
from seqmem.ops.by_head import assemble, heads, interleaved, of_heads, widened
from seqmem.ops.checks import check_attend, check_qk, check_weights
from seqmem.ops.dispatch import DEFAULTS, Choice
from seqmem.ops.dropout import row_keys
from seqmem.ops.loop import ConvolutionProgram, Loop
from seqmem.ops.pattern import Band, HeadGroup, Pattern, head_groups
from seqmem.ops.step import Step, StepProgram

Rel = tuple[Float[Tensor, "B T H D"], Float[Tensor, "C H D"]]


def bind(preference: str = "auto") -> "Ops":
    """Bind the operations to backends: ``"pytorch"`` is strict, ``"tvm,pytorch"`` an ordered list, ``"auto"`` free.

    Raises:
        SeqmemError: a name that is unknown or cannot be loaded here, with the mending command.
    """
    return Ops(dispatch.parse_preference(preference))


@dataclass(frozen=True)
class Ops:
    """Operations bound to a preference; holds names only, so it copies and pickles. Make one with :func:`bind`.

    Shapes: B batch, T queries, S keys, H heads, D and E widths of keys and values, C columns of a band. Queries line
    up with the end of the keys. Inputs share a dtype; sums are kept in float32 (float64 for float64). Under
    autocast, what is multiplied is cast to its dtype; probabilities, a bias on scores, decays and sums keep theirs.
    """

    preference: tuple[str, ...]

    def band_qk(self, q: Float[Tensor, "B T H D"], k: Float[Tensor, "B S H D"], band: Band) -> Float[Tensor, "B T H C"]:
        """Unscaled scores along the band, 0 in columns outside the keys; float32 for half inputs."""
        q, k = lowered(q), lowered(k)
        check_qk(q, k, band)
        backend = self._choice("band_qk", band, q, (q, k)).backend

        def part(group: HeadGroup) -> Tensor:
            return autograd.band_qk(heads(q, group), heads(k, group), *_numbers(group.band), backend)

        with suspended(q):
            return assemble(band, q.shape[2], part, lambda scores, group: widened(scores, group, band.num_columns))

    def band_pv(self, p: Float[Tensor, "B T H C"], v: Float[Tensor, "B S H E"], band: Band) -> Float[Tensor, "B T H E"]:
        """Sum of values weighted along the band; p outside the keys is ignored, even NaN there."""
        v = lowered(v)
        check_weights(p, v, band)
        backend = self._choice("band_pv", band, v, (p, v)).backend

        def part(group: HeadGroup) -> Tensor:
            weights = heads(p, group)[..., group.columns]
            return autograd.band_pv(weights, heads(v, group), *_numbers(group.band), backend)

        with suspended(v):
            return assemble(band, v.shape[2], part)

    def band_pv_t(
        self, p: Float[Tensor, "B T H C"], g: Float[Tensor, "B T H E"], band: Band, num_keys: int
    ) -> Float[Tensor, "B S H E"]:
        """Transpose of :meth:`band_pv` in its values: key j collects ``p * g`` of every query that sees it."""
        g = lowered(g)
        check_weights(p, g, band, num_keys)
        backend = self._choice("band_pv_t", band, g, (p, g)).backend

        def part(group: HeadGroup) -> Tensor:
            weights = heads(p, group)[..., group.columns]
            return autograd.band_pv_t(weights, heads(g, group), num_keys, *_numbers(group.band), backend)

        with suspended(g):
            return assemble(band, g.shape[2], part)

    def attend(
        self,
        q: Float[Tensor, "B T H D"],
        k: Float[Tensor, "B S H D"],
        v: Float[Tensor, "B S H E"],
        pattern: Pattern,
        *,
        bias: Float[Tensor, "#B #T #H N"] | None = None,
        rel: Rel | None = None,
        valid: Bool[Tensor, "B S"] | None = None,
        scale: float | None = None,
        dropout: float = 0.0,
        seed: int | Tensor | None = None,
        fused: bool = True,
    ) -> tuple[Float[Tensor, "B T H E"], Float[Tensor, "B T H"]]:
        """Softmax attention with ``scores = scale * (q.k + qr.r) + bias``.

        Args:
            bias: broadcastable, N = C for Band, S for Dense, G for Gather; not scaled. -inf switches an entry off.
            rel: relative positions ``(qr [B, T, H, D], r [C, H, D])``, Band only.
            valid: keys that take part; all when absent.
            scale: ``D ** -0.5`` when absent.
            dropout: chance of each probability to be dropped, after the softmax; lse stays undropped.
            seed: of the dropout mask, an integer or a 0-d int64 tensor; the mask is the same in every backend.
            fused: False gives a slower path that is differentiable twice.

        Returns:
            ``out`` in v's dtype and the log-sum-exp of the scores, natural log, in float32 (float64 for float64), both
            differentiable. A query without keys gives 0 and -inf, and gradients of exactly 0.
        """
        call = _attention(q, k, v, pattern, bias, rel, valid, scale, dropout, seed)
        with suspended(q):
            if not isinstance(pattern, Band) or not pattern.per_head:
                return self._attend_one(call, fused)
            groups = head_groups(pattern, q.shape[2])
            outs, lses = zip(*(self._attend_one(of_heads(call, group), fused) for group in groups), strict=True)
            return interleaved(outs, groups, q.shape[2]), interleaved(lses, groups, q.shape[2])

    def _attend_one(self, call: Attention, fused: bool) -> tuple[Tensor, Tensor]:
        operands = (call.q, call.k, call.v, call.bias, call.qr, call.r)
        present = {"bias": call.bias, "rel": call.r, "valid": call.valid, "dropout": call.dropout_keys}
        names = tuple(name for name, operand in present.items() if operand is not None)
        if not fused:
            on_band = isinstance(call.pattern, Band)
            backend = self._choice("band_qk", call.pattern, call.q, operands).backend if on_band else DEFAULTS
            return unfused.attend(call, backend)
        choice = self._choice("attend", call.pattern, call.q, operands, names)
        kind, numbers, index, index_valid = autograd.encode(call.pattern)
        tensors = (call.q, call.k, call.v, call.bias, call.qr, call.r, call.valid, index, index_valid)
        return autograd.attend(
            *tensors, call.dropout_keys, kind, numbers, call.scale, call.dropout, choice.backend, choice.composed
        )

    @torch.no_grad()
    def key_usage(
        self,
        q: Float[Tensor, "B T H D"],
        k: Float[Tensor, "B S H D"],
        pattern: Pattern,
        lse: Float[Tensor, "B T H"],
        *,
        bias: Float[Tensor, "#B #T #H N"] | None = None,
        rel: Rel | None = None,
        valid: Bool[Tensor, "B S"] | None = None,
        scale: float | None = None,
    ) -> Float[Tensor, "B S H"]:
        """Attention mass each key received from all queries, without gradient.

        Args:
            lse: as :meth:`attend` gave it for the same arguments.
        """
        call = _attention(q, k, k, pattern, bias, rel, valid, scale)

        def usage(call: Attention, lse: Tensor) -> Tensor:
            if not isinstance(call.pattern, Band):
                return defaults.key_usage(call, None, lse)
            name = self._choice("band_pv_t", call.pattern, call.q).backend
            return defaults.key_usage(call, registry.backend(name), lse)

        with suspended(q):
            if not isinstance(pattern, Band) or not pattern.per_head:
                return usage(call, lse)
            groups = head_groups(pattern, q.shape[2])
            parts = [usage(of_heads(call, group), heads(lse, group)) for group in groups]
            return interleaved(parts, groups, q.shape[2])

    def scan(self, gate: Tensor, x: Tensor, initial: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """``h_t = gate_t * h_{t-1} + x_t`` in the wider of their dtypes; see :func:`seqmem.ops.recurrence.scan`."""
        dtype = torch.promote_types(gate.dtype, x.dtype)
        gate, x, initial = gate.to(dtype), x.to(dtype), None if initial is None else initial.to(dtype)
        return self._tier2("scan", x, gate, x, initial)

    def linear_attention(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        log_decay: Tensor | None = None,
        initial: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """``S_t = exp(log_decay_t) S_{t-1} + k_t v_t^T``; see :func:`seqmem.ops.recurrence.linear_attention`."""
        q, k, v = lowered(q), lowered(k), lowered(v)
        return self._tier2("linear_attention", q, q, k, v, log_decay, initial)

    def causal_conv1d(
        self,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None = None,
        dilation: int = 1,
        groups: int = 1,
        state: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Causal convolution over time; see :func:`seqmem.ops.recurrence.causal_conv1d`."""
        x, weight, bias, state = lowered(x), lowered(weight), lowered(bias), lowered(state)
        return self._tier2("causal_conv1d", x, x, weight, bias, dilation, groups, state)

    def compile_step(self, program: StepProgram) -> Step | None:
        """A step of generation from the first backend that offers one for the program's device and dtype, or None."""
        name = self._choice("compile_step", None, program.like).backend
        return None if name == DEFAULTS else registry.backend(name).compile_step(program)  # type: ignore[attr-defined]

    def compile_loop(self, program: ConvolutionProgram) -> Loop | None:
        """Generation from the first backend that offers it for the program's device and dtype, or None."""
        name = self._choice("compile_loop", None, program.like).backend
        return None if name == DEFAULTS else registry.backend(name).compile_loop(program)  # type: ignore[attr-defined]

    def describe(self, device: str = "cpu", dtype: torch.dtype = torch.float32) -> str:
        """One line that says who computes what on a device."""
        kinds = [(op, "Band") for op in TIERS[0]] + [("attend", p) for p in ("Band", "Dense", "Gather", "Blocks")]
        kinds += [(op, "") for op in (*TIERS[2], *TIERS[3])]
        resolved: dict[str, list[str]] = {}
        for op, pattern in kinds:
            who, composed = dispatch.choose(self.preference, op, pattern, False, dtype, device, True, ())
            who += " (composed)" if composed and who != DEFAULTS else ""
            resolved.setdefault(who, []).append(f"{op}[{pattern}]" if op == "attend" else op)
        return "; ".join(f"{who}: {', '.join(ops)}" for who, ops in resolved.items())

    def _tier2(self, op: str, x: Tensor, *operands: Any) -> tuple[Tensor, Tensor]:
        name = self._choice(op, None, x, (x,)).backend
        with suspended(x):
            return getattr(recurrence if name == DEFAULTS else registry.backend(name), op)(*operands)

    def _choice(
        self,
        op: str,
        pattern: Pattern | None,
        like: Tensor,
        operands: Iterable[Tensor | None] = (),
        names: tuple[str, ...] = (),
    ) -> Choice:
        needs_grad = torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in operands)
        kind = "" if pattern is None else type(pattern).__name__
        dilated = isinstance(pattern, Band) and pattern.dilation != 1
        device = like.device.type
        return Choice(*dispatch.choose(self.preference, op, kind, dilated, like.dtype, device, needs_grad, names))


def _attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    pattern: Pattern,
    bias: Tensor | None,
    rel: Rel | None,
    valid: Tensor | None,
    scale: float | None,
    dropout: float = 0.0,
    seed: int | Tensor | None = None,
) -> Attention:
    """A call whose operands fit together, arguments as :meth:`Ops.attend` has them."""
    q, k, v = lowered(q), lowered(k), lowered(v)
    rel = None if rel is None else (lowered(rel[0]), lowered(rel[1]))
    check_attend(q, k, v, pattern, bias, rel, valid, dropout, seed)
    qr, r = rel if rel is not None else (None, None)
    scale = q.shape[3] ** -0.5 if scale is None else scale
    keys = row_keys(seed, q.shape[0], q.shape[2], q.device) if dropout and seed is not None else None
    return Attention(q, k, v, pattern, scale, bias, qr, r, valid, float(dropout), keys)


def _numbers(band: Band) -> tuple[int, int, int]:
    return band.left, band.right, band.dilation

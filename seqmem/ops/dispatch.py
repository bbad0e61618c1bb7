"""Preference list + kind of call -> backend, decided once per kind and logged."""

import logging
from functools import lru_cache
from typing import NamedTuple

import torch

from seqmem.errors import SeqmemError
from seqmem.ops import registry
from seqmem.ops.backend import BAND_KERNELS, AttentionBackend, BackendUnsupported, Signature

log = logging.getLogger("seqmem")

DEFAULTS = "defaults"
"""In place of a backend's name: the plain PyTorch of :mod:`seqmem.ops.defaults`."""


class Choice(NamedTuple):
    """Who computes a kind of call; ``composed`` attention is built from that backend's own band kernels."""

    backend: str
    composed: bool


def parse_preference(text: str) -> tuple[str, ...]:
    """``"tvm"`` is strict, ``"tvm,pytorch"`` an ordered list, ``"auto"`` every backend by its rank for the device."""
    wanted = tuple(part.strip() for part in text.split(",") if part.strip())
    if not wanted:
        raise SeqmemError(f"backend '{text}' names no backend; give one of: auto, {', '.join(registry.names())}")
    for name in wanted:
        if name != "auto":
            registry.backend(name)
        elif len(wanted) > 1:
            raise SeqmemError(f"backend '{text}': auto is a choice by itself; leave the other names out")
    return wanted


@torch.compiler.assume_constant_result
def choose(
    preference: tuple[str, ...],
    op: str,
    pattern: str,
    dilated: bool,
    dtype: torch.dtype,
    device: str,
    needs_grad: bool,
    operands: tuple[str, ...],
) -> tuple[str, bool]:
    """The :class:`Choice` for a :class:`Signature`, given as plain values so that torch.compile sees a constant."""
    signature = Signature(op, pattern, dilated, dtype, device, needs_grad, frozenset(operands))
    return tuple(decide(preference, signature))  # type: ignore[return-value]


@lru_cache(maxsize=4096)
def decide(preference: tuple[str, ...], call: Signature) -> Choice:
    """Choose, or raise with every candidate's every reason.

    Band work must run in a backend of the preference. Everything else falls to the defaults where no backend of the
    preference offers it.

    Raises:
        BackendUnsupported: no candidate takes a call on a Band.
    """
    reasons: dict[str, list[str]] = {}
    for name in _by_rank(call.device) if preference == ("auto",) else preference:
        candidate = registry.backend(name)
        reasons[name] = _reasons(candidate, call)
        if not reasons[name]:
            return _logged(preference, call, Choice(name, composed=False))
        if call.op == "attend" and call.pattern == "Band" and not _tier0_reasons(candidate, call):
            return _logged(preference, call, Choice(name, composed=True))
    if call.op not in BAND_KERNELS and call.pattern != "Band":
        return _logged(preference, call, Choice(DEFAULTS, composed=True))
    what = f"{call.op} on {call.device} in {str(call.dtype).removeprefix('torch.')}"
    listed = "; ".join(f"{name}: {', '.join(why)}" for name, why in reasons.items())
    raise BackendUnsupported(f"no backend of '{','.join(preference)}' takes {what}: {listed}; try --backend auto")


def _reasons(candidate: AttentionBackend, call: Signature) -> list[str]:
    unavailable = candidate.unavailable()
    return [unavailable] if unavailable else candidate.unsupported(call)


def _tier0_reasons(candidate: AttentionBackend, call: Signature) -> list[str]:
    reasons = []
    for op in BAND_KERNELS:
        reasons += _reasons(candidate, Signature(op, "Band", call.dilated, call.dtype, call.device, call.needs_grad))
    return reasons


def _by_rank(device: str) -> list[str]:
    ranked = []
    for name in registry.names():
        if registry.missing(name):
            continue
        try:
            rank = registry.backend(name).auto_rank.get(device)
        except SeqmemError as error:
            log.warning("backend auto passes over a broken plug-in: %s", error)
            continue
        if rank is not None:
            ranked.append((-rank, name))
    return [name for _, name in sorted(ranked)]


def _logged(preference: tuple[str, ...], call: Signature, choice: Choice) -> Choice:
    level = logging.INFO if preference == ("auto",) or choice.backend == DEFAULTS else logging.DEBUG
    how = " (composed of its band kernels)" if choice.composed and choice.backend != DEFAULTS else ""
    log.log(level, "%s %s -> %s%s", call.op, call.pattern, choice.backend, how)
    return choice

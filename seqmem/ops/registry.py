"""Which backends there are: the built-in table, and plug-ins from the entry point group ``seqmem.backends``."""

import logging
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import torch

from seqmem.errors import SeqmemError, nearest
from seqmem.ops.backend import TIERS, AttentionBackend

log = logging.getLogger("seqmem")

GROUP = "seqmem.backends"
DEFAULT_DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)


@dataclass(frozen=True)
class BuiltIn:
    """A backend of this package: where its class is, and where the function that says what it lacks here, if anything.

    That function returns the reason with the mending command, or None, and imports no kernel language to find out.
    """

    target: str
    missing: str | None = None


BUILT_IN = {
    "pytorch": BuiltIn("seqmem.backends.pytorch:PyTorchBackend"),
    "tvm": BuiltIn("seqmem.backends.tvm.backend:TVMBackend", missing="seqmem.backends.tvm.installed:unavailable"),
    "triton": BuiltIn(
        "seqmem.backends.triton.backend:TritonBackend", missing="seqmem.backends.triton.installed:unavailable"
    ),
}


# A plain dictionary, unlike a cached function, is something that torch.compile sees through.
imported: dict[str, AttentionBackend] = {}


@dataclass(frozen=True)
class BackendInfo:
    """A row of ``seqmem backends``."""

    name: str
    origin: str
    available: bool
    reason: str | None
    operations: dict[int, list[str]]
    dtypes: list[str]
    devices: list[str]


@cache
def plug_ins() -> dict[str, list[EntryPoint]]:
    """Installed plug-ins by name; more than one under a name, or a built-in's name, is refused on use."""
    found: dict[str, list[EntryPoint]] = {}
    for point in entry_points(group=GROUP):
        found.setdefault(point.name, []).append(point)
    return found


def names() -> list[str]:
    """Every name a preference may hold, built-in ones first."""
    return [*BUILT_IN, *(name for name in plug_ins() if name not in BUILT_IN)]


def missing(name: str) -> str | None:
    """Why a backend cannot be used here, with the mending command; None if nothing is known to be missing."""
    check = BUILT_IN[name].missing if name in BUILT_IN else None
    return _object(check)() if check else None


def backend(name: str) -> AttentionBackend:
    """The backend of that name, imported on first use.

    An error inside a built-in backend propagates as it is: a mistake there must never read as "not available".

    Raises:
        SeqmemError: unknown name, missing package, or a plug-in that is ambiguous or fails to load.
    """
    if name not in imported:
        imported[name] = _found(name)
    return imported[name]


def _found(name: str) -> AttentionBackend:
    if name in BUILT_IN:
        if reason := missing(name):
            raise SeqmemError(f"backend '{name}' is not available: {reason}")
        return _object(BUILT_IN[name].target)()
    points = plug_ins().get(name, [])
    if not points:
        raise SeqmemError(f"unknown backend '{name}'{nearest(name, ['auto', *names()])}")
    if len(points) > 1:
        raise SeqmemError(f"backend '{name}' is offered twice, by {_origins(points)}; uninstall one of them")
    return _load(points[0])


def _object(path: str) -> Any:
    """What ``module:name`` refers to."""
    module, _, name = path.partition(":")
    return getattr(import_module(module), name)


def _load(point: EntryPoint) -> AttentionBackend:
    try:
        instance = point.load()()
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        raise SeqmemError(f"backend '{point.name}' ({_origins([point])}) failed to load: {reason}") from error
    if not isinstance(instance, AttentionBackend) or instance.name != point.name:
        raise SeqmemError(
            f"backend '{point.name}' ({_origins([point])}) is not an AttentionBackend of that name but {instance!r}"
        )
    return instance


def survey() -> list[BackendInfo]:
    """What every backend offers on this machine, or why it does not; a broken plug-in breaks only its own row.

    The last row is no backend: the plain PyTorch that computes, under every preference, what its backends do not offer.
    """
    rows = [_info(name, "built in" if name in BUILT_IN else _origins(plug_ins()[name])) for name in names()]
    for name in set(BUILT_IN) & set(plug_ins()):
        reason = f"refused: the name is taken by the built-in backend '{name}'"
        rows.append(BackendInfo(name, _origins(plug_ins()[name]), False, reason, {}, [], []))
    fills_in = {1: ["attend(Dense, Gather, Blocks)"], 2: list(TIERS[2])}
    everywhere = [str(dtype).removeprefix("torch.") for dtype in DEFAULT_DTYPES]
    rows.append(BackendInfo("(defaults)", "fills in for all", True, None, fills_in, everywhere, ["cpu", "cuda"]))
    return rows


def _info(name: str, origin: str) -> BackendInfo:
    try:
        found = backend(name)
    except SeqmemError as error:
        return BackendInfo(name, origin, False, missing(name) or str(error), {}, [], [])
    reason = found.unavailable()
    operations = {tier: [op for op in ops if found.offers(op)] for tier, ops in TIERS.items()}
    if found.attend_patterns:
        operations[1] = [f"attend({', '.join(found.attend_patterns)})"]
    dtypes = [str(dtype).removeprefix("torch.") for dtype in found.dtypes]
    return BackendInfo(name, origin, reason is None, reason, operations, dtypes, list(found.devices))


def _origins(points: list[EntryPoint]) -> str:
    return ", ".join(f"plug-in {point.dist.name if point.dist else point.value}" for point in points)

"""The architectures that can be converted."""

from seqmem.convert.architecture import Architecture
from seqmem.convert.bigbird import BigBird
from seqmem.convert.longformer import Longformer
from seqmem.convert.transformer_xl import TransformerXL
from seqmem.errors import SeqmemError, nearest

ARCHITECTURES: tuple[Architecture, ...] = (Longformer(), BigBird(), TransformerXL())


def of_model_type(model_type: object) -> Architecture:
    """By their name."""
    return _pick({architecture.model_type: architecture for architecture in ARCHITECTURES}, "model_type", model_type)


def of_model(name: str) -> Architecture:
    """By our name."""
    return _pick({architecture.name: architecture for architecture in ARCHITECTURES}, "model", name)


def _pick(architectures: dict[str, Architecture], what: str, name: object) -> Architecture:
    if not isinstance(name, str) or name not in architectures:
        raise SeqmemError(f"{what} {name!r} cannot be converted{nearest(str(name), architectures)}")
    return architectures[name]

"""Which of their tensors make up a parameter of ours."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from seqmem.errors import SeqmemError

DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


@dataclass(frozen=True)
class Pair:
    """A parameter of ours and the tensors it is made of.

    Args:
        ours: its name.
        theirs: names of the pieces, which stand one after the other along the first axis.
        ties: more names of a single piece, under which a folder may hold it instead or again.
        stacked: each piece lacks the first axis, of which it is an element.
        lead: rows of a single piece before ours, which no token reaches; written as zeros.
    """

    ours: str
    theirs: tuple[str, ...]
    ties: tuple[str, ...] = ()
    stacked: bool = False
    lead: int = 0

    def split(self, parameter: Tensor) -> dict[str, Tensor]:
        """Their pieces by name."""
        if self.lead:
            parameter = torch.cat([torch.zeros_like(parameter[:1]).expand(self.lead, -1), parameter])
        pieces = parameter.unbind() if self.stacked else parameter.chunk(len(self.theirs))
        return dict(zip(self.theirs, pieces, strict=True))

    def joined(self, tensors: Mapping[str, Tensor]) -> Tensor:
        """Our parameter, from pieces by name, of which every one is there."""
        pieces = [tensors[self.found(name, tensors)[0]] for name in self.theirs]
        return (torch.stack if self.stacked else torch.cat)(pieces)[self.lead :]

    def found(self, piece: str, tensors: Mapping[str, Tensor]) -> list[str]:
        """The names under which a folder holds a piece."""
        return [name for name in (piece, *self.ties) if name in tensors]


def linear(ours: str, *theirs: str) -> Iterator[Pair]:
    """Weight and bias of a layer, from one of theirs or from several."""
    for kind in ("weight", "bias"):
        yield Pair(f"{ours}.{kind}", tuple(f"{name}.{kind}" for name in theirs))


def missing(pair: Pair, parameter: Tensor, tensors: Mapping[str, Tensor], where: str) -> list[str]:
    """Names of the pieces that a folder lacks.

    Raises:
        SeqmemError: a piece of another shape, one of another dtype than :data:`DTYPES`, or ties that differ.
    """
    absent = []
    for piece, wanted in pair.split(parameter).items():
        names = pair.found(piece, tensors)
        if not names:
            absent.append(piece)
        for name in names:
            tensor = tensors[name]
            if tensor.shape != wanted.shape:
                raise SeqmemError(
                    f"{where}: {name} has shape {list(tensor.shape)}, config.json asks for {list(wanted.shape)}; "
                    "give the config.json that belongs to these weights"
                )
            if tensor.dtype not in DTYPES:
                raise SeqmemError(f"{where}: {name} is {tensor.dtype}; give weights that are not quantised")
            if not torch.equal(tensor, tensors[names[0]]):
                raise SeqmemError(
                    f"{where}: {name} and {names[0]} differ, but are one parameter here; give a model that ties them"
                )
    return absent

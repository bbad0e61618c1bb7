"""Explicit memory: what a model carries from one call to the next, as plain batch-first tensors.

A model's state is a frozen dataclass deriving from :class:`State`. Its fields are tensors ``[B, ...]``, tuples of such
tensors (one per layer) or integers (the clock). Nothing is hidden in modules, so a state can be copied, cut to some
rows of the batch, moved, saved and restored without knowing the model.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields, replace
from typing import ClassVar, Self

import torch
from jaxtyping import Bool, Int
from torch import Tensor


@dataclass(frozen=True)
class State:
    """Base of every model's state; tensors are batch first, but for the fields named in ``batch_free``."""

    batch_free: ClassVar[frozenset[str]] = frozenset()

    def map(self, function: Callable[[Tensor], Tensor], names: Iterable[str] = ()) -> Self:
        """Return a copy with ``function`` applied to every tensor, or to those of the named fields."""

        def apply(value):
            if isinstance(value, Tensor):
                return function(value)
            if isinstance(value, tuple):
                return tuple(apply(item) for item in value)
            return value

        return replace(self, **{name: apply(getattr(self, name)) for name in names or self._names()})

    def _names(self) -> set[str]:
        return {field.name for field in fields(self)}

    def detach(self) -> Self:
        """Cut the graph: gradients stop here."""
        return self.map(Tensor.detach)

    def select(self, rows: Tensor) -> Self:
        """Keep the batch rows named by an index or boolean tensor ``[B']``, in that order."""
        return self.map(lambda tensor: tensor[rows], self._names() - self.batch_free)

    def to(self, *args, **kwargs) -> Self:
        """Move or cast every tensor as ``Tensor.to`` does; a dtype leaves integer and boolean tensors alone."""
        if any(isinstance(value, torch.dtype) for value in (*args, *kwargs.values())):
            return self.map(lambda tensor: tensor.to(*args, **kwargs) if tensor.is_floating_point() else tensor)
        return self.map(lambda tensor: tensor.to(*args, **kwargs))

    def tensors(self) -> dict[str, Tensor]:
        """Flatten into named tensors, integers as 0-d int64, for saving; :meth:`restore` is the inverse."""
        flat: dict[str, Tensor] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, tuple):
                flat |= {f"{field.name}.{index}": tensor for index, tensor in enumerate(value)}
            else:
                flat[field.name] = value if isinstance(value, Tensor) else torch.tensor(value)
        return flat

    def restore(self, flat: dict[str, Tensor]) -> Self:
        """Return a state of this structure holding the tensors that :meth:`tensors` gave."""

        def take(name: str, value):
            if isinstance(value, tuple):
                return tuple(flat[f"{name}.{index}"] for index in range(len(value)))
            return flat[name] if isinstance(value, Tensor) else int(flat[name])

        return replace(self, **{field.name: take(field.name, getattr(self, field.name)) for field in fields(self)})


def newest(count: Int[Tensor, "B"], num_slots: int) -> Bool[Tensor, "B M"]:
    """Marks the ``count`` last of ``num_slots`` slots."""
    return torch.arange(num_slots, device=count.device) >= num_slots - count[:, None]

"""Explicit memory: what a model carries from one call to the next, as plain batch-first tensors.

A model's state is a frozen dataclass deriving from :class:`State`. Its fields are tensors ``[B, ...]``, integers (the
clock), states, or tuples of such (one per layer). Nothing is hidden in modules, so a state can be copied, cut to some
rows of the batch, moved, saved and restored without knowing the model.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, Self

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Int
from torch import Tensor


@dataclass(frozen=True)
class State:
    """Base of every model's state; tensors are batch first, but for the fields named in ``batch_free``.

    A field may also hold a state, or a tuple of them: that of a layer, say.
    """

    batch_free: ClassVar[frozenset[str]] = frozenset()

    def map(self, function: Callable[[Tensor], Tensor], names: Iterable[str] = ()) -> Self:
        """Return a copy with ``function`` applied to every tensor, or to those of the named fields."""
        return self._each(function, lambda state: state.map(function), names or self._fields())

    def detach(self) -> Self:
        """Cut the graph: gradients stop here."""
        return self.map(Tensor.detach)

    def select(self, rows: Tensor) -> Self:
        """Keep the batch rows named by an index or boolean tensor ``[B']``, in that order."""
        return self._each(lambda tensor: tensor[rows], lambda state: state.select(rows), self._by_row())

    def renew(self, rows: Bool[Tensor, "B"], fresh: Self) -> Self:
        """Put the tensors of ``fresh``, a state of the same structure, into the marked rows; integers stay.

        A tensor that has grown in its second dimension since ``fresh`` is filled up with zeros there, in front: its
        model counts how many are to be seen.
        """

        def renewed(tensor: Tensor, new: Tensor) -> Tensor:
            if grown := tensor.dim() > 1 and tensor.shape[1] - new.shape[1]:
                new = F.pad(new, (0, 0) * (new.dim() - 2) + (grown, 0))
            return torch.where(rows.view(-1, *[1] * (tensor.dim() - 1)), new.to(tensor.dtype), tensor)

        return self._each(renewed, lambda state, new: state.renew(rows, new), self._by_row(), fresh)

    def to(self, *args, **kwargs) -> Self:
        """Move or cast every tensor as ``Tensor.to`` does; a dtype leaves integer and boolean tensors alone."""
        if any(isinstance(value, torch.dtype) for value in (*args, *kwargs.values())):
            return self.map(lambda tensor: tensor.to(*args, **kwargs) if tensor.is_floating_point() else tensor)
        return self.map(lambda tensor: tensor.to(*args, **kwargs))

    def tensors(self) -> dict[str, Tensor]:
        """Flatten into named tensors, integers as 0-d int64, for saving; :meth:`restore` is the inverse."""

        def flat(name: str, value: Any) -> dict[str, Tensor]:
            if isinstance(value, tuple):
                return {key: leaf for i, item in enumerate(value) for key, leaf in flat(f"{name}.{i}", item).items()}
            if isinstance(value, State):
                return {f"{name}.{key}": leaf for key, leaf in value.tensors().items()}
            return {name: value if isinstance(value, Tensor) else torch.tensor(value)}

        return {key: leaf for name in self._fields() for key, leaf in flat(name, getattr(self, name)).items()}

    def restore(self, flat: dict[str, Tensor]) -> Self:
        """Return a state of this structure holding the tensors that :meth:`tensors` gave."""

        def take(name: str, value: Any) -> Any:
            if isinstance(value, tuple):
                return tuple(take(f"{name}.{i}", item) for i, item in enumerate(value))
            if isinstance(value, State):
                inside = f"{name}."
                return value.restore({k.removeprefix(inside): leaf for k, leaf in flat.items() if k.startswith(inside)})
            return flat[name] if isinstance(value, Tensor) else int(flat[name])

        return replace(self, **{name: take(name, getattr(self, name)) for name in self._fields()})

    def _fields(self) -> list[str]:
        return [field.name for field in fields(self)]

    def _by_row(self) -> set[str]:
        """Names of the fields that are batch first."""
        return set(self._fields()) - self.batch_free

    def _each(
        self, tensor: Callable[..., Tensor], state: Callable[..., Any], names: Iterable[str], *others: Self
    ) -> Self:
        """A copy whose tensors and inner states in the named fields are mapped, together with those of ``others``."""

        def apply(*values: Any) -> Any:
            value = values[0]
            if isinstance(value, Tensor):
                return tensor(*values)
            if isinstance(value, State):
                return state(*values)
            return tuple(apply(*items) for items in zip(*values, strict=True)) if isinstance(value, tuple) else value

        states = (self, *others)
        return replace(self, **{name: apply(*(getattr(each, name) for each in states)) for name in names})


def newest(count: Int[Tensor, "B"], num_slots: int) -> Bool[Tensor, "B M"]:
    """Marks the ``count`` last of ``num_slots`` slots."""
    return torch.arange(num_slots, device=count.device) >= num_slots - count[:, None]

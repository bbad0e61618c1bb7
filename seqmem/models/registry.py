"""Tables of models: a name, the place of its class, its configuration and its named sizes."""

from collections.abc import Collection, Iterator, Mapping
from importlib import import_module
from typing import Any, Generic, TypeVar

from pydantic import BaseModel

from seqmem.errors import SeqmemError, nearest
from seqmem.ops import Ops
from seqmem.schema import validated

M = TypeVar("M")


class Registry(Collection[str], Generic[M]):
    """Models of one kind by name; a class is imported when it is asked for.

    Args:
        kind: what they are, in an error.
        places: ``"module:class"`` by name.
        elsewhere: of names that are models of another kind, what to do with those.
    """

    def __init__(self, kind: str, places: Mapping[str, str], elsewhere: Mapping[str, str] | None = None):
        self._kind = kind
        self._places = places
        self._elsewhere = elsewhere or {}

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, name: object) -> bool:
        return name in self._places

    def model_class(self, name: str) -> type[Any]:
        """The class of a model by its name."""
        if name in self._elsewhere:
            raise SeqmemError(f"'{name}' is no {self._kind}: {self._elsewhere[name]}")
        if name not in self._places:
            raise SeqmemError(f"unknown {self._kind} '{name}'{nearest(name, self._places)}")
        module, _, attribute = self._places[name].partition(":")
        return getattr(import_module(module), attribute)

    def config(self, name: str, **overrides: Any) -> Any:
        """Configuration of ``"model"`` or ``"model/size"`` with keys overridden."""
        model, _, size = name.partition("/")
        cls = self.model_class(model)
        if size and size not in cls.SIZES:
            raise SeqmemError(f"unknown size '{size}' of {self._kind} '{model}'{nearest(size, cls.SIZES)}")
        return validated(cls.Config, (cls.SIZES[size] if size else {}) | overrides, f"{self._kind} {model}")

    def build(self, config: BaseModel | str, ops: Ops, **overrides: Any) -> M:
        """Build a model bound to backends.

        Args:
            config: a model's configuration, or ``"transformer-xl/small"`` with overrides as keywords.
            ops: the operations, from :func:`seqmem.ops.bind`.
        """
        if isinstance(config, str):
            return self.build(self.config(config, **overrides), ops)
        if overrides:
            config = type(config).model_validate(config.model_dump() | overrides)
        return self.model_class(self.name_of(config))(config, ops)

    def name_of(self, config: BaseModel) -> str:
        """The name of the model that takes ``config``."""
        for name in self:
            if self.model_class(name).Config is type(config):
                return name
        raise SeqmemError(f"no {self._kind} takes a {type(config).__name__}; known: {', '.join(self)}")

"""What there is to say about an architecture of Hugging Face's that seqmem has as well."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

from pydantic import BaseModel

from seqmem.convert.pairs import Pair
from seqmem.errors import SeqmemError
from seqmem.models.registry import Registry


class Architecture:
    """Base of the descriptions: how configurations and names of tensors correspond, both ways.

    Attributes:
        model_type: theirs, as config.json has it.
        name: ours, in ``registry``.
        lm_class: their class with a language model's head, which is what is written.
        body: prefix of their names of everything but heads.
        keys: by our key, theirs and its default.
        fixed: options of theirs of which one value, the default, is what our model does.
        derived: their tensors that follow from the configuration.
        unused: their tensors of the body for which our model has no place.
    """

    model_type: ClassVar[str]
    name: ClassVar[str]
    registry: ClassVar[Registry[Any]]
    lm_class: ClassVar[str]
    body: ClassVar[str]
    keys: ClassVar[Mapping[str, tuple[str, Any]]]
    fixed: ClassVar[Mapping[str, Any]]
    derived: ClassVar[re.Pattern[str]]
    unused: ClassVar[re.Pattern[str]] = re.compile(r"(?!)")

    def ours(self, theirs: Mapping[str, Any]) -> dict[str, Any]:
        """The keys of our configuration that need more than a new name."""
        raise NotImplementedError

    def theirs(self, config: Any, kept: Mapping[str, Any]) -> dict[str, Any]:
        """The keys of their configuration that need more than a new name.

        Args:
            kept: the configuration that the model was imported with; empty for others.

        Raises:
            SeqmemError: a configuration that theirs cannot express.
        """
        raise NotImplementedError

    def pairs(self, config: Any, theirs: Mapping[str, Any]) -> Iterator[Pair]:
        """All parameters of a model of ours, under their names of ``lm_class``."""
        raise NotImplementedError

    def import_notes(self, config: Any, theirs: Mapping[str, Any]) -> Sequence[str]:
        """What someone who takes over a model should know."""
        return ()

    def export_notes(self, config: Any, kept: Mapping[str, Any]) -> Sequence[str]:
        """What someone who gives a model away should know; ``kept`` as in :meth:`theirs`."""
        return ()

    def our_config(self, theirs: Mapping[str, Any]) -> dict[str, Any]:
        """Our whole configuration, not yet validated.

        Raises:
            SeqmemError: an option that our model does not have.
        """
        for key, value in self.fixed.items():
            if theirs.get(key, value) != value:
                raise SeqmemError(
                    f"{key} = {theirs[key]!r} of a {self.model_type} has no counterpart here; "
                    f"give a model with {value!r}"
                )
        renamed = {ours: theirs.get(key, default) for ours, (key, default) in self.keys.items()}
        return renamed | self.ours(theirs)

    def their_config(self, config: BaseModel, kept: Mapping[str, Any]) -> dict[str, Any]:
        """Their whole configuration; ``kept`` as in :meth:`theirs`."""
        renamed = {key: getattr(config, ours) for ours, (key, _) in self.keys.items()}
        about = {"model_type": self.model_type, "architectures": [self.lm_class], "torch_dtype": "float32"}
        return {**kept, **about, **self.fixed, **renamed, **self.theirs(config, kept)}


def whole(theirs: Mapping[str, Any], key: str, default: int, least: int = 0) -> int:
    """A whole number of their configuration."""
    value = theirs.get(key, default)
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise SeqmemError(f"{key} = {value!r} should be a whole number from {least} on; mend it in config.json")
    return value

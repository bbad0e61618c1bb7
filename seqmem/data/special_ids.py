"""The ids that an encoder has besides those of text."""

from dataclasses import dataclass
from typing import ClassVar, Self


@dataclass(frozen=True)
class SpecialIds:
    """Ids after the tokenizer's last one; none stands for text, and no text has them.

    Attributes:
        pad: fills rows up; never looked at.
        cls: begins every row (Devlin et al. 2019).
        sep: ends a text.
        mask: stands where a token is hidden.
    """

    COUNT: ClassVar[int] = 4

    pad: int
    cls: int
    sep: int
    mask: int

    @classmethod
    def after(cls, vocab_size: int) -> Self:
        """Those of an encoder whose tokenizer has ``vocab_size`` ids."""
        return cls(*range(vocab_size, vocab_size + cls.COUNT))

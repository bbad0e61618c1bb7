"""What the likelihoods of a run are counted by: bytes of text or samples of sound."""

from dataclasses import dataclass

from seqmem.config import Recipe


@dataclass(frozen=True)
class Measure:
    """How a recipe's runs are measured.

    Attributes:
        unit: what bits are counted by.
        things: what budgets and generation are counted in.
        tokens_a_thing: how many tokens each of these takes.
        has_words: whether word-level perplexity is measured as well.
    """

    unit: str
    things: str
    tokens_a_thing: int
    has_words: bool

    @property
    def key(self) -> str:
        """The metric of training; that of validation has ``validation_`` before it."""
        return f"bits_per_{self.unit}"

    @property
    def label(self) -> str:
        """As axes and headings have it."""
        return f"bits/{self.unit}"


def measure_of(recipe: Recipe) -> Measure:
    """The measure that runs of ``recipe`` log."""
    if recipe.codec:
        return Measure("sample", "samples", recipe.codec.tokens_a_sample, has_words=False)
    if recipe.masking:
        return Measure("token", "tokens", 1, has_words=False)
    return Measure("byte", "tokens", 1, has_words=True)

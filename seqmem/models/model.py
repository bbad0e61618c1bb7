"""What a training loop asks of every model."""

from typing import Any, ClassVar

from torch import nn

from seqmem.ops import Ops


class Model(nn.Module):
    """A model that can be trained and saved, causal or not.

    Attributes:
        head: what hidden states become; its weights do not decay.
    """

    Config: ClassVar[type[Any]]
    SIZES: ClassVar[dict[str, dict]]

    config: Any
    ops: Ops
    head: nn.Module

    @property
    def num_parameters(self) -> int:
        """Trained values; a tied weight counts once."""
        return sum(parameter.numel() for parameter in self.parameters())

    def auxiliary_parameters(self) -> list[nn.Parameter]:
        """What only auxiliary losses train; its gradient is clipped apart from the rest."""
        return []

    def constrain(self) -> None:
        """Put weights that have a range back into it; called after every update."""

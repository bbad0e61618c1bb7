"""A way for tokens to take from those before them, with what it carries as an explicit state."""

from typing import Any

from jaxtyping import Float
from torch import Tensor, nn


class Mixer(nn.Module):
    """``mixer(x [B, T, d], state) -> (out [B, T, d], state)``, the same for every split of a sequence into calls.

    A state is a :class:`seqmem.state.State`, batch first.
    """

    def reset_parameters(self, std: float) -> None:
        """Set what is not in Linear layers, which are N(0, std) already, biases 0."""

    def init_state(self, batch_size: int) -> Any:
        """The state before the first token."""
        raise NotImplementedError

    def generation_state(self, state: Any) -> Any:
        """A state under which single tokens are cheap; valid while the weights stay fixed."""
        return state

    def problem(self, state: Any) -> str | None:
        """Why nobody should go on with a state, and what would help; None where there is no reason."""
        return None

    def forward(self, x: Float[Tensor, "B T d"], state: Any) -> tuple[Float[Tensor, "B T d"], Any]:
        raise NotImplementedError

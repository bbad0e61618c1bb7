"""The attention of Titans: a window, vectors that everyone sees, and what memory gave (arXiv 2501.00663, section 4)."""

from typing import Any

from jaxtyping import Float
from torch import Tensor

from seqmem.layers.window import WindowAttention
from seqmem.ops import Dense, merge


class TitansAttention(WindowAttention):
    """One softmax over the tokens of a window, persistent vectors, and history vectors, where there are such.

    Token t sees the history vectors of the tokens that it sees, at their places. Keys and values of all come from the
    same projections; persistent vectors have no place.
    """

    def attended(
        self,
        q: Float[Tensor, "B T H D"],
        k: Float[Tensor, "B S H D"],
        v: Float[Tensor, "B S H D"],
        relative: Float[Tensor, "C H D"],
        *,
        persistent: Float[Tensor, "P d"] | None = None,
        history: Float[Tensor, "B S 2 H D"] | None = None,
        **options: Any,
    ) -> Float[Tensor, "B T H D"]:
        """What the queries see.

        Args:
            persistent: vectors that every token sees.
            history: keys and values of as many vectors as there are tokens.
        """
        at_content, at_places = q + self.u, (q + self.v, relative)
        parts = [self.ops.attend(at_content, k, v, self.band, rel=at_places, **options)]
        if history is not None:
            keys, values = history.unbind(2)
            parts.append(self.ops.attend(at_content, keys, values, self.band, rel=at_places, **options))
        if persistent is not None and len(persistent):
            keys, values = self.cached(persistent.expand(len(q), -1, -1)).unbind(2)
            parts.append(self.ops.attend(at_content, keys, values, Dense(), **options | {"valid": None}))
        return merge(parts)[0]

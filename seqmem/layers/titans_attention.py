"""The attention of Titans: a window, vectors that everyone sees, and what memory gave (arXiv 2501.00663, section 4)."""

from dataclasses import dataclass

from jaxtyping import Bool, Float
from torch import Tensor

from seqmem.layers.window import WindowAttention
from seqmem.ops import Dense, merge
from seqmem.ops.dropout import dropping


@dataclass(frozen=True)
class Seen:
    """What queries saw so far, and what they go on looking with.

    Args:
        content: queries that meet keys, ``[B, T, H, D]``.
        places: queries that meet positions.
        relative: ``W_r R`` of every distance, farthest first, ``[C, H, D]``.
        out: attention, ``[B, T, H, D]``.
        lse: log of its sum of exponentials, ``[B, T, H]``.
    """

    content: Tensor
    places: Tensor
    relative: Tensor
    out: Tensor
    lse: Tensor

    def by_segment(self, count: int) -> "list[Seen]":
        """Rows are ``count`` segments of each sequence, side by side; one object for each segment."""
        rows = (self.content, self.places, self.out, self.lse)
        parts = zip(*(part.unflatten(0, (-1, count)).unbind(1) for part in rows), strict=True)
        return [Seen(content, places, self.relative, out, lse) for content, places, out, lse in parts]


class TitansAttention(WindowAttention):
    """One softmax over the tokens of a window, persistent vectors, and history vectors, where there are such.

    Token t sees the history vectors of the tokens that it sees, at their places. Keys and values of all come from the
    same projections; persistent vectors have no place.
    """

    def tokens(
        self,
        x: Float[Tensor, "B T d"],
        past: Tensor,
        valid: Bool[Tensor, "B P"] | None,
        relative: Float[Tensor, "C H D"],
        persistent: Float[Tensor, "P d"],
    ) -> tuple[Seen, Tensor]:
        """What is seen of tokens and persistent vectors, and what x leaves; arguments are those of :meth:`forward`."""
        q, k, v, valid, left = self.operands(x, past, valid)
        content, places = q + self.u, q + self.v
        parts = [
            self.ops.attend(
                content,
                k,
                v,
                self.band,
                valid=valid,
                rel=(places, relative),
                **dropping(self.dropout, self.training, x.device),
            )
        ]
        if len(persistent):
            keys, values = self.cached(persistent[None]).expand(len(q), -1, -1, -1, -1).unbind(2)
            parts.append(
                self.ops.attend(content, keys, values, Dense(), **dropping(self.dropout, self.training, x.device))
            )
        return Seen(content, places, relative, *merge(parts)), left

    def with_history(self, seen: Seen, history: Float[Tensor, "B S 2 H D"]) -> Float[Tensor, "B T d"]:
        """The output of attention to keys and values of as many history vectors as there are tokens, besides."""
        keys, values = history.unbind(2)
        rel = (seen.places, seen.relative)
        recalled = self.ops.attend(
            seen.content, keys, values, self.band, rel=rel, **dropping(self.dropout, self.training, seen.out.device)
        )
        return self.output(merge([(seen.out, seen.lse), recalled])[0])

    def output(self, out: Float[Tensor, "B T H D"]) -> Float[Tensor, "B T d"]:
        """The output of what was seen."""
        return self.out(out.flatten(2))

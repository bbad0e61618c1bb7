"""Longformer's attention: a window for every token, everything for a few (Beltagy et al. 2020, section 3)."""

from dataclasses import dataclass

from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from seqmem.layers.encoder_attention import EncoderAttention
from seqmem.ops import Band, Dense, Gather, Ops, merge


@dataclass(frozen=True)
class GlobalTokens:
    """Tokens that see all and are seen by all.

    Args:
        mask: which they are.
        index: their places, padded; ``exists`` says which of them count.
    """

    mask: Bool[Tensor, "B T"]
    index: Int[Tensor, "B G"]
    exists: Bool[Tensor, "B G"]

    @classmethod
    def of(cls, mask: Bool[Tensor, "B T"] | None) -> "GlobalTokens | None":
        """None where there are none at all."""
        most = 0 if mask is None else int(mask.sum(1).max())
        if mask is None or not most:
            return None
        index = mask.byte().argsort(dim=1, descending=True, stable=True)[:, :most]
        return cls(mask, index, mask.gather(1, index))


class GlobalWindowAttention(EncoderAttention):
    """Two-sided windows in a softmax with the global tokens' keys; the rows of global tokens see everything.

    Global tokens are keys to the others through the projections that all share. What they see themselves comes from
    projections of its own, which start as a copy.

    Args:
        window: neighbours on each side; Longformer's paper and Hugging Face's ``attention_window`` count both sides.
    """

    def __init__(self, d_model: int, num_heads: int, window: int, dilation: int, dropout: float, ops: Ops):
        super().__init__(d_model, num_heads, dropout, ops)
        self.band = Band(window, window, dilation)
        self.global_qkv = nn.Linear(d_model, 3 * d_model)

    def reset_parameters(self, std: float) -> None:
        """Weights N(0, std), biases 0, global projections equal to the others."""
        super().reset_parameters(std)
        self.global_qkv.load_state_dict(self.qkv.state_dict())

    def attended(
        self, x: Float[Tensor, "B T d"], valid: Bool[Tensor, "B T"] | None, seen: GlobalTokens | None
    ) -> Float[Tensor, "B T H D"]:
        """What the tokens see.

        Args:
            seen: the global tokens, all of them valid; none when absent.
        """
        q, k, v = self.projected(x)
        dropout = self.dropped(x.device)
        if seen is None:
            return self.ops.attend(q, k, v, self.band, valid=valid, **dropout)[0]
        near = ~seen.mask if valid is None else valid & ~seen.mask
        named = Gather(seen.index, seen.exists)
        out, _ = merge(
            [
                self.ops.attend(q, k, v, self.band, valid=near, **dropout),
                self.ops.attend(q, k, v, named, **dropout),
            ]
        )
        return self._with_rows(out, x, valid, seen)

    def _with_rows(
        self,
        out: Float[Tensor, "B T H D"],
        x: Float[Tensor, "B T d"],
        valid: Tensor | None,
        tokens: GlobalTokens,
    ) -> Float[Tensor, "B T H D"]:
        """The rows of global tokens replaced by what they see of all."""
        width = x.shape[2]
        weight, bias = self.global_qkv.weight, self.global_qkv.bias
        rows = x.gather(1, tokens.index[..., None].expand(-1, -1, width))
        q = nn.functional.linear(rows, weight[:width], bias[:width]).unflatten(-1, self.heads)
        projected = nn.functional.linear(x, weight[width:], bias[width:]).unflatten(-1, (2, *self.heads))
        k, v = projected.unbind(2)
        seen, _ = self.ops.attend(q, k, v, Dense(), valid=valid, **self.dropped(x.device))
        row, slot = tokens.exists.nonzero(as_tuple=True)
        return out.index_put((row, tokens.index[row, slot]), seen[row, slot].to(out.dtype))

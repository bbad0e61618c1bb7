"""Longformer's attention: a window for every token, everything for a few (Beltagy et al. 2020, section 3)."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from seqmem.layers.encoder_attention import EncoderAttention
from seqmem.layers.linear import Linear, linear
from seqmem.ops import Band, Dense, Gather, Ops, merge
from seqmem.ops.dropout import dropping


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
        self.global_qkv = Linear(d_model, 3 * d_model)

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
        dropout = dropping(self.dropout, self.training, x.device)
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
        few = tokens.index.shape[1] * self.heads[0] < x.shape[2]
        rows = x.gather(1, tokens.index[..., None].expand(-1, -1, x.shape[2]))
        seen = (self._rows_through_inputs if few else self._rows_through_keys)(rows, x, valid)
        row, slot = tokens.exists.nonzero(as_tuple=True)
        return out.index_put((row, tokens.index[row, slot]), seen[row, slot].to(out.dtype))

    def _rows_through_keys(
        self, rows: Float[Tensor, "B G d"], x: Float[Tensor, "B T d"], valid: Tensor | None
    ) -> Float[Tensor, "B G H D"]:
        """What ``rows`` see of ``x``, every token of which is projected."""
        (w, *ws), (b, *bs) = self.global_qkv.weight.chunk(3), self.global_qkv.bias.chunk(3)
        q = linear(rows, w, b).unflatten(-1, self.heads)
        k, v = linear(x, torch.cat(ws), torch.cat(bs)).unflatten(-1, (2, *self.heads)).unbind(2)
        return self.ops.attend(q, k, v, Dense(), valid=valid, **dropping(self.dropout, self.training, x.device))[0]

    def _rows_through_inputs(
        self, rows: Float[Tensor, "B G d"], x: Float[Tensor, "B T d"], valid: Tensor | None
    ) -> Float[Tensor, "B G H D"]:
        """The same, cheaper for fewer rows than d / H: these are projected to where the tokens are.

        ``q . (W x + b)`` is ``(W' q) . x`` and a constant, which a softmax does not see. Of values, probabilities mix
        inputs and a 1, whose share the bias gets: under dropout probabilities do not add up to one.
        """
        (w_q, w_k, w_v), (b_q, _, b_v) = self.global_qkv.weight.chunk(3), self.global_qkv.bias.chunk(3)
        q = linear(rows, w_q, b_q).unflatten(-1, self.heads)
        at_inputs = torch.einsum("bghc,hcd->bghd", q, w_k.unflatten(0, self.heads))
        mixed, _ = self.ops.attend(
            at_inputs.flatten(1, 2)[:, :, None],
            x[:, :, None],
            F.pad(x, (0, 1), value=1.0)[:, :, None],
            Dense(),
            valid=valid,
            scale=self.heads[1] ** -0.5,
            **dropping(self.dropout, self.training, x.device),
        )
        mixed = mixed.unflatten(1, (-1, self.heads[0])).squeeze(3)
        values = torch.einsum("bghd,hcd->bghc", mixed[..., :-1], w_v.unflatten(0, self.heads))
        return values + mixed[..., -1:] * b_v.view(self.heads)

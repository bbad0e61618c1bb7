"""Attention with one head whose keys and values are the memory itself (Merity 2019, arXiv 1911.11423)."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from seqmem.layers.linear import Linear
from seqmem.ops import Band, Ops
from seqmem.ops.dropout import dropping

NORM_EPS = 1e-12


class SingleHeadAttention(nn.Module):
    """``x + dropout(attend(q, k, v))``, where x is the normalised input; no positions, no projection but the query's.

    Every input leaves a slot m, normalised apart, in the memory; then ``q = LN(W x + b) * sigmoid(query_gate)``,
    ``k = m * sigmoid(key_gate)`` and ``v = m * tanh(c) * sigmoid(f)`` with ``[c | f] = W' sigmoid(value_gate) + b'``,
    the paper's overparameterised gate. Dropout on q, on v and on the probabilities.
    """

    def __init__(self, d_model: int, dropout: float, ops: Ops):
        super().__init__()
        self.input_norm = nn.LayerNorm(d_model, NORM_EPS)
        self.memory_norm = nn.LayerNorm(d_model, NORM_EPS)
        self.query = Linear(d_model, d_model)
        self.query_norm = nn.LayerNorm(d_model, NORM_EPS)
        self.query_gate = nn.Parameter(torch.zeros(d_model))
        self.key_gate = nn.Parameter(torch.zeros(d_model))
        self.value_gate = nn.Parameter(torch.zeros(d_model))
        self.overparameters = Linear(d_model, 2 * d_model)
        self.dropout = nn.Dropout(dropout)
        self.ops = ops

    def forward(
        self, x: Float[Tensor, "B T d"], past: Float[Tensor, "B L d"], valid: Bool[Tensor, "B S"]
    ) -> tuple[Float[Tensor, "B T d"], Float[Tensor, "B S d"]]:
        """Attend from x to the past and to x so far.

        Args:
            x: the present.
            past: slots, oldest first.
            valid: which of the S = L + T slots take part.

        Returns:
            The output, and the past with the slots of x appended.
        """
        past = torch.cat([past, self.memory_norm(x)], 1)
        x = self.input_norm(x)
        return x + self.dropout(self._attended(x, past, valid)), past

    def _attended(self, x: Tensor, slots: Tensor, valid: Tensor) -> Tensor:
        # The gates of keys and values are the same in every slot, so the few queries and outputs bear them instead of
        # the many slots, which stay as they are.
        q = self.dropout(self.query_norm(self.query(x)) * self.query_gate.sigmoid()) * self.key_gate.sigmoid()
        q, k, v = (tensor.unsqueeze(2) for tensor in (q, slots, self.dropout(slots)))
        out, _ = self.ops.attend(
            q, k, v, Band(slots.shape[1] - 1), valid=valid, **dropping(self.dropout.p, self.training, x.device)
        )
        content, forget = self.overparameters(self.value_gate.sigmoid()).chunk(2)
        return out.squeeze(2) * content.tanh() * forget.sigmoid()

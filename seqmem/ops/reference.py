"""The oracle: every operation of the waist by masks and loops, in whatever dtype its inputs have. Never fast.

Nothing outside the tests and :mod:`seqmem.testing` imports this; plain autograd gives its gradients.
"""

import torch
from torch import Tensor

from seqmem.ops.dropout import keep, row_keys
from seqmem.ops.pattern import Band, Gather, Pattern


def band_qk(q: Tensor, k: Tensor, band: Band) -> Tensor:
    """Column by column, ``[B, T, H, C]``; per-head bands allowed."""
    num_queries, num_keys = q.shape[1], k.shape[1]
    columns = []
    for column in range(band.num_columns):
        key, inside = _key_of_column(band, column, num_queries, num_keys, q.shape[2], q.device)
        picked = k[:, key, torch.arange(q.shape[2], device=q.device)]
        columns.append(((q * picked).sum(-1)).masked_fill(~inside, 0))
    return torch.stack(columns, -1)


def band_pv(p: Tensor, v: Tensor, band: Band) -> Tensor:
    """Column by column, ``[B, T, H, E]``."""
    num_queries, num_keys, num_heads = p.shape[1], v.shape[1], v.shape[2]
    total = v.new_zeros(*p.shape[:3], v.shape[3])
    for column in range(band.num_columns):
        key, inside = _key_of_column(band, column, num_queries, num_keys, num_heads, v.device)
        picked = v[:, key, torch.arange(num_heads, device=v.device)]
        total = total + p[..., column].masked_fill(~inside, 0)[..., None].to(v.dtype) * picked
    return total


def band_pv_t(p: Tensor, g: Tensor, band: Band, num_keys: int) -> Tensor:
    """Key by key, ``[B, S, H, E]``."""
    num_queries, num_heads = p.shape[1], p.shape[2]
    total = g.new_zeros(g.shape[0], num_keys, *g.shape[2:])
    for column in range(band.num_columns):
        key, inside = _key_of_column(band, column, num_queries, num_keys, num_heads, g.device)
        part = p[..., column].masked_fill(~inside, 0)[..., None].to(g.dtype) * g
        index = key[None, ..., None].expand(part.shape)
        total = total.scatter_add(1, index, part)
    return total


def attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    pattern: Pattern,
    *,
    bias: Tensor | None = None,
    rel: tuple[Tensor, Tensor] | None = None,
    valid: Tensor | None = None,
    scale: float | None = None,
    dropout: float = 0.0,
    seed: int | None = None,
) -> tuple[Tensor, Tensor]:
    """Dense masked attention over all S keys: ``(out [B, T, H, E], lse [B, T, H])``."""
    scale = q.shape[3] ** -0.5 if scale is None else scale
    scores = scale * torch.einsum("bthd,bshd->bhts", q, k)
    added = _column_terms(q, k, pattern, bias, rel, scale)
    if added is not None:
        scores = scores + added
    mask = pattern.to_mask(q.shape[1], k.shape[1], q.device)
    mask = mask[(None,) * (4 - mask.dim())]
    if valid is not None:
        mask = mask & valid[:, None, None]
    scores = scores.masked_fill(~mask, -torch.inf)
    empty = (scores == -torch.inf).all(-1, keepdim=True)
    lse = scores.masked_fill(empty, 0).logsumexp(-1, keepdim=True)
    probs = (scores - lse).exp().masked_fill(empty, 0)
    if dropout:
        assert seed is not None
        keys = row_keys(seed, q.shape[0], q.shape[2], q.device)[..., None, None]
        query = torch.arange(q.shape[1], device=q.device)[:, None]
        kept = keep(keys, query, torch.arange(k.shape[1], device=q.device), dropout)
        probs = probs * kept / (1 - dropout)
    out = torch.einsum("bhts,bshe->bthe", probs, v)
    return out, lse.masked_fill(empty, -torch.inf).squeeze(-1).transpose(1, 2)


def key_usage(q: Tensor, k: Tensor, pattern: Pattern, **options) -> Tensor:
    """Attention mass of every key, ``[B, S, H]``: attention to the identity, summed over queries."""
    batch_size, num_keys, num_heads = k.shape[:3]
    identity = torch.eye(num_keys, dtype=q.dtype, device=q.device)[None, :, None]
    probs, _ = attend(q, k, identity.expand(batch_size, num_keys, num_heads, num_keys), pattern, **options)
    return probs.sum(1).transpose(1, 2)


def scan(gate: Tensor, x: Tensor, initial: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Step by step."""
    gate = gate.expand_as(x)
    state = torch.zeros_like(x[:, 0]) if initial is None else initial
    states = []
    for t in range(x.shape[1]):
        state = gate[:, t] * state + x[:, t]
        states.append(state)
    return torch.stack(states, 1), state


def linear_attention(
    q: Tensor, k: Tensor, v: Tensor, log_decay: Tensor | None = None, initial: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Step by step."""
    state = q.new_zeros(q.shape[0], q.shape[2], q.shape[3], v.shape[3]) if initial is None else initial
    outs = []
    for t in range(q.shape[1]):
        if log_decay is not None:
            state = state * log_decay[:, t].exp()[..., None, None]
        state = state + k[:, t, :, :, None] * v[:, t, :, None]
        outs.append(torch.einsum("bhd,bhde->bhe", q[:, t], state))
    return torch.stack(outs, 1), state


def causal_conv1d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    dilation: int = 1,
    groups: int = 1,
    state: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Tap by tap."""
    past = (weight.shape[2] - 1) * dilation
    before = x.new_zeros(x.shape[0], past, x.shape[2]) if state is None else state
    longer = torch.cat([before, x], 1)
    total = x.new_zeros(x.shape[0], x.shape[1], weight.shape[0])
    for tap in range(weight.shape[2]):
        seen = longer[:, tap * dilation : tap * dilation + x.shape[1]].unflatten(2, (groups, -1))
        total = total + torch.einsum("btgi,goi->btgo", seen, weight[..., tap].unflatten(0, (groups, -1))).flatten(2)
    return total if bias is None else total + bias, longer[:, longer.shape[1] - past :]


def _key_of_column(
    band: Band, column: int, num_queries: int, num_keys: int, num_heads: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """The key index ``[T, H]`` (0 where there is none) of a column, and whether it is one of the head's keys."""
    position = torch.arange(num_queries, device=device)[:, None] + num_keys - num_queries
    own = band.of_heads(num_heads)
    steps = column - band.hull().left
    dilation = torch.tensor([b.dilation for b in own], device=device)
    within = torch.tensor([-b.left <= steps <= b.right for b in own], device=device)
    key = position + steps * dilation
    inside = (key >= 0) & (key < num_keys) & within
    return key.where(inside, 0), inside


def _column_terms(
    q: Tensor, k: Tensor, pattern: Pattern, bias: Tensor | None, rel: tuple[Tensor, Tensor] | None, scale: float
) -> Tensor | None:
    """What lives on columns, moved to the keys they name: ``[B, H, T, S]``."""
    num_queries, num_keys = q.shape[1], k.shape[1]
    columns = None
    if rel is not None:
        columns = scale * torch.einsum("bthd,chd->bhtc", *rel)
    if bias is not None:
        bias = bias.transpose(1, 2)
        columns = bias if columns is None else columns + bias
    if columns is None:
        return None
    columns = columns.expand(q.shape[0], q.shape[2], num_queries, columns.shape[3])
    if isinstance(pattern, Band):
        terms = torch.zeros(*columns.shape[:3], num_keys, dtype=q.dtype, device=q.device)
        for column in range(pattern.num_columns):
            key, inside = _key_of_column(pattern, column, num_queries, num_keys, q.shape[2], q.device)
            value = columns[..., column].masked_fill(~inside.T, 0)
            terms = terms.scatter_add(3, key.T[None, ..., None].expand(*value.shape, 1), value[..., None])
        return terms
    if isinstance(pattern, Gather):
        index = pattern.index if pattern.index.dim() == 3 else pattern.index[:, None]
        named = torch.ones_like(index, dtype=torch.bool)
        if pattern.valid is not None:
            named = pattern.valid if pattern.valid.dim() == 3 else pattern.valid[:, None]
        terms = torch.zeros(*columns.shape[:3], num_keys, dtype=q.dtype, device=q.device)
        value = columns.masked_fill(~named[:, :, None], 0)
        return terms.scatter_add(3, index.where(named, 0)[:, :, None].expand(value.shape), value)
    return columns

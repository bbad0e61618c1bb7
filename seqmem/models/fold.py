"""Weights that other weights can take over."""

from collections.abc import Iterable
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn

from seqmem.errors import SeqmemError
from seqmem.models.compressive import CompressiveTransformer
from seqmem.models.model import Model

M = TypeVar("M", bound=Model)


@torch.no_grad()
def fold_admin(model: M) -> M:
    """A plain post-LN model that computes what a model with ``admin = true`` does; one without comes back as it is.

    What a shortcut multiplies by omega comes from a norm: the norm's gain and bias take omega, and the matrices that
    read the same vectors are divided by it. What a model remembers is then of another scale, so its state begins anew.

    Raises:
        SeqmemError: memory is compressed, which mixes channels before they are multiplied, or an omega is 0.
    """
    if not getattr(model.config, "admin", False):
        return model
    if isinstance(model, CompressiveTransformer):
        raise SeqmemError("compressed memory cannot take omega over; use the model as it is, with admin = true")
    plain = type(model)(model.config.model_copy(update={"admin": False}), model.ops).train(model.training)
    plain.to(next(model.parameters()))
    plain.load_state_dict({name: weight for name, weight in model.state_dict().items() if "_shortcut." not in name})
    norm = getattr(plain, "embedding_norm", None)
    blocks = zip(cast(nn.ModuleList, plain.blocks), cast(nn.ModuleList, model.blocks), strict=True)
    for block, weighted in cast(Iterable[tuple[Any, Any]], blocks):
        if norm is not None:
            readers = [layer for name, layer in block.attention.named_children() if name.endswith("qkv")]
            _fold(weighted.attention_shortcut.weight, norm, readers)
        _fold(weighted.feed_forward_shortcut.weight, block.attention_norm, [block.feed_forward[0]])
        norm = block.feed_forward_norm
    return plain


def _fold(omega: Tensor, norm: nn.LayerNorm, readers: list[nn.Linear]) -> None:
    """Have a norm give omega times what it gave, and those that read it undo that."""
    if not omega.all():
        raise SeqmemError("an omega is 0 in some channel, which leaves nothing to divide by; train on, or keep admin")
    norm.weight.mul_(omega)
    norm.bias.mul_(omega)
    for reader in readers:
        reader.weight.div_(omega)

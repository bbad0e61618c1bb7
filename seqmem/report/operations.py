"""Floating-point operations of training that the model itself asks for, as model FLOPs utilisation counts them."""

from torch import nn

from seqmem.errors import SeqmemError
from seqmem.layers.vocabulary import Softmax
from seqmem.models.base import CausalModel
from seqmem.models.segmented import SegmentedTransformer
from seqmem.models.transformer_xl import TransformerXL

PASSES = 3
"""Products of a training step for each of its forward pass: the backward pass has two."""


def operations_a_token(model: CausalModel) -> float:
    """Useful operations of a training step for each token that it reads, its memory full.

    As PaLM counts them (Chowdhery et al. 2022, arXiv 2204.02311, appendix B): a product of matrices is two operations
    for each number that it multiplies, forward once and backward twice, and nothing counts that is computed again. A
    token meets every matrix of the layers, and the softmax's, but not the embedding's; in attention it meets the keys
    that it sees, which are counted one by one, and as many values and, where there are any, relative positions.

    Left out, as in that convention, is what is not done for the token: projections of positions, of what memory holds
    (in the size ``gpu`` of recipes/pg19 they are another tenth), and compression.

    Raises:
        SeqmemError: a model that is no transformer, or one without a softmax over the whole vocabulary.
    """
    if not isinstance(model, SegmentedTransformer) or not isinstance(model.head, Softmax):
        raise SeqmemError(
            f"operations of {type(model).__name__} with {type(model.head).__name__} are not counted; "
            "give a transformer with a softmax, without cutoffs"
        )
    matrices = [layer.weight for layer in model.blocks.modules() if isinstance(layer, nn.Linear)]
    multiplied = sum(matrix.numel() for matrix in (*matrices, model.head.weight))
    return PASSES * 2 * (multiplied + sum(_attended(model, layer) for layer in range(model.config.num_layers)))


def _attended(model: SegmentedTransformer, layer: int) -> float:
    """Numbers that a token's attention multiplies on average over a segment."""
    config, slots = model.config, model.num_slots(layer)
    most = model.band(layer, slots + config.segment_len).num_columns
    num_keys = sum(min(most, slots + place + 1) for place in range(config.segment_len)) / config.segment_len
    num_products = 3 if isinstance(model, TransformerXL) else 2
    return num_products * config.num_heads * config.head_dim * num_keys

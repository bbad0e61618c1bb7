"""What Longformer and BigBird have of BERT (:class:`seqmem.models.post_norm_encoder.PostNormEncoder`)."""

from collections.abc import Iterator

from seqmem.convert.pairs import Pair, linear

KEYS = {
    "vocab_size": ("vocab_size", 30522),
    "num_layers": ("num_hidden_layers", 12),
    "d_model": ("hidden_size", 768),
    "num_heads": ("num_attention_heads", 12),
    "d_inner": ("intermediate_size", 3072),
    "num_types": ("type_vocab_size", 2),
    "dropout": ("hidden_dropout_prob", 0.1),
    "attention_dropout": ("attention_probs_dropout_prob", 0.1),
    "norm_eps": ("layer_norm_eps", 1e-12),
    "init_std": ("initializer_range", 0.02),
}
QKV = ("query", "key", "value")


def pairs(num_layers: int, body: str, transform: str, norm: str, logits: str, lead: int = 0) -> Iterator[Pair]:
    """Embeddings, layers and the head over masked tokens.

    Args:
        body: prefix of the names of embeddings and layers.
        transform, norm: where the head has its linear layer and the norm after it.
        logits: where it has the softmax.
        lead: positions that no token has.
    """
    embeddings = f"{body}embeddings"
    yield Pair("head.weight", (f"{embeddings}.word_embeddings.weight",), (f"{logits}.decoder.weight",))
    yield Pair("positions.weight", (f"{embeddings}.position_embeddings.weight",), lead=lead)
    yield Pair("types.weight", (f"{embeddings}.token_type_embeddings.weight",))
    yield from linear("embedding_norm", f"{embeddings}.LayerNorm")
    for index in range(num_layers):
        block, layer = f"blocks.{index}", f"{body}encoder.layer.{index}"
        yield from linear(f"{block}.attention.qkv", *(f"{layer}.attention.self.{part}" for part in QKV))
        yield from linear(f"{block}.attention.out", f"{layer}.attention.output.dense")
        yield from linear(f"{block}.attention_norm", f"{layer}.attention.output.LayerNorm")
        yield from linear(f"{block}.feed_forward.0", f"{layer}.intermediate.dense")
        yield from linear(f"{block}.feed_forward.3", f"{layer}.output.dense")
        yield from linear(f"{block}.feed_forward_norm", f"{layer}.output.LayerNorm")
    yield from linear("head.inner", f"{transform}.dense")
    yield from linear("head.norm", f"{transform}.{norm}")
    yield Pair("head.bias", (f"{logits}.bias",), (f"{logits}.decoder.bias",))

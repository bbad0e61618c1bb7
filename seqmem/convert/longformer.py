"""Longformer."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from seqmem.convert import bert
from seqmem.convert.architecture import Architecture, whole
from seqmem.convert.pairs import Pair, linear
from seqmem.errors import SeqmemError
from seqmem.models import ENCODERS
from seqmem.models.longformer import LongformerConfig
from seqmem.models.per_layer import per_layer

PADDING = 1


class Longformer(Architecture):
    """Theirs counts a window on both sides together, and positions from the one after the padding token's id."""

    model_type = "longformer"
    name = "longformer"
    registry = ENCODERS
    lm_class = "LongformerForMaskedLM"
    body = "longformer."
    keys = bert.KEYS
    fixed: ClassVar = {"hidden_act": "gelu", "position_embedding_type": "absolute", "tie_word_embeddings": True}
    derived = re.compile(r"longformer\.embeddings\.position_ids")
    unused = re.compile(r"longformer\.pooler\..*")

    def ours(self, theirs: Mapping[str, Any]) -> dict[str, Any]:
        windows = theirs.get("attention_window", 512)
        both_sides = windows if isinstance(windows, list) else [windows]
        if not all(isinstance(size, int) and size > 0 and size % 2 == 0 for size in both_sides):
            raise SeqmemError(f"attention_window = {windows!r} should be even and positive; mend it in config.json")
        halves = tuple(size // 2 for size in both_sides)
        return {
            "max_len": whole(theirs, "max_position_embeddings", 512) - self._lead(theirs),
            "window": halves if isinstance(windows, list) else halves[0],
        }

    def theirs(self, config: LongformerConfig, kept: Mapping[str, Any]) -> dict[str, Any]:
        if set(per_layer(config.dilation, config.num_layers, "dilation")) != {1}:
            raise SeqmemError(f"dilation = {config.dilation}, but Hugging Face's Longformer has none; train without")
        windows = per_layer(config.window, config.num_layers, "window")
        return {
            "attention_window": [2 * window for window in windows],
            "max_position_embeddings": config.max_len + self._lead(kept),
            "pad_token_id": kept.get("pad_token_id", PADDING),
        }

    def pairs(self, config: LongformerConfig, theirs: Mapping[str, Any]) -> Iterator[Pair]:
        yield from bert.pairs(
            config.num_layers,
            body="longformer.",
            transform="lm_head",
            norm="layer_norm",
            logits="lm_head",
            lead=self._lead(theirs),
        )
        for index in range(config.num_layers):
            own = f"longformer.encoder.layer.{index}.attention.self"
            yield from linear(f"blocks.{index}.attention.global_qkv", *(f"{own}.{part}_global" for part in bert.QKV))

    def export_notes(self, config: LongformerConfig, kept: Mapping[str, Any]) -> list[str]:
        if kept:
            return []
        return [f"Hugging Face's Longformer takes token {PADDING} for padding wherever it stands in a text"]

    def _lead(self, theirs: Mapping[str, Any]) -> int:
        return whole(theirs, "pad_token_id", PADDING) + 1

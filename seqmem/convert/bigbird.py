"""BigBird."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from seqmem.convert import bert
from seqmem.convert.architecture import Architecture
from seqmem.convert.pairs import Pair
from seqmem.models import ENCODERS
from seqmem.models.bigbird import BigBirdConfig


class BigBird(Architecture):
    """Theirs draws random blocks in training only; what it computes otherwise is ``layout = "hugging-face"``."""

    model_type = "big_bird"
    name = "bigbird"
    registry = ENCODERS
    lm_class = "BigBirdForMaskedLM"
    body = "bert."
    keys: ClassVar = {
        **bert.KEYS,
        "vocab_size": ("vocab_size", 50358),
        "max_len": ("max_position_embeddings", 4096),
        "block_size": ("block_size", 64),
        "num_random_blocks": ("num_random_blocks", 3),
    }
    fixed: ClassVar = {
        "hidden_act": "gelu_new",
        "position_embedding_type": "absolute",
        "tie_word_embeddings": True,
        "attention_type": "block_sparse",
        "use_bias": True,
        "rescale_embeddings": False,
        "is_decoder": False,
    }
    derived = re.compile(r"bert\.embeddings\.position_ids")
    unused = re.compile(r"bert\.pooler\..*")

    def ours(self, theirs: Mapping[str, Any]) -> dict[str, Any]:
        return {"layout": "hugging-face"}

    def theirs(self, config: BigBirdConfig, kept: Mapping[str, Any]) -> dict[str, Any]:
        return {}

    def pairs(self, config: BigBirdConfig, theirs: Mapping[str, Any]) -> Iterator[Pair]:
        head = "cls.predictions"
        return bert.pairs(config.num_layers, body="bert.", transform=f"{head}.transform", norm="LayerNorm", logits=head)

    def export_notes(self, config: BigBirdConfig, kept: Mapping[str, Any]) -> list[str]:
        if config.layout == "hugging-face" or not config.num_random_blocks:
            return []
        return [
            "random blocks are drawn here, and at Hugging Face every one is the first block outside training: longer "
            "texts than are seen whole will differ"
        ]

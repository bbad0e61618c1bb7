"""Transformer-XL, which newer releases of transformers have no more."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from seqmem.convert.architecture import Architecture, whole
from seqmem.convert.pairs import Pair, linear
from seqmem.errors import SeqmemError
from seqmem.models import MODELS
from seqmem.models.transformer_xl import TransformerXLConfig

CUTOFFS = [20000, 40000, 200000]
SEGMENT_LEN = 128
WORDS, LOGITS = "transformer.word_emb", "crit"


class TransformerXL(Architecture):
    """Theirs moves memory after every call, and begins with zeros that take part."""

    model_type = "transfo-xl"
    name = "transformer-xl"
    registry = MODELS
    lm_class = "TransfoXLLMHeadModel"
    body = "transformer."
    keys: ClassVar = {
        "vocab_size": ("vocab_size", 267735),
        "num_layers": ("n_layer", 18),
        "d_model": ("d_model", 1024),
        "num_heads": ("n_head", 16),
        "head_dim": ("d_head", 64),
        "d_inner": ("d_inner", 4096),
        "dropout": ("dropout", 0.1),
        "attention_dropout": ("dropatt", 0.0),
        "same_length": ("same_length", True),
        "untie_uv": ("untie_r", True),
        "init_std": ("init_std", 0.02),
    }
    fixed: ClassVar = {"attn_type": 0, "pre_lnorm": False, "layer_norm_epsilon": 1e-5, "tie_word_embeddings": True}
    derived = re.compile(r"transformer\.pos_emb\.inv_freq")

    def ours(self, theirs: Mapping[str, Any]) -> dict[str, Any]:
        cutoffs = theirs.get("cutoffs", CUTOFFS)
        if not isinstance(cutoffs, list):
            raise SeqmemError(f"cutoffs = {cutoffs!r} should be a list of ids; mend it in config.json")
        div_value = whole(theirs, "div_val", 4, least=1)
        d_embed, d_model = whole(theirs, "d_embed", 1024), whole(theirs, "d_model", 1024)
        clamp_len = whole(theirs, "clamp_len", 1000, least=-1)
        own = {
            "segment_len": whole(theirs, "tgt_len", SEGMENT_LEN),
            "mem_len": whole(theirs, "mem_len", 1600),
            "clamp_len": clamp_len if clamp_len > 0 else -1,
            "memory_init": "zeros",
        }
        if not cutoffs and div_value == 1 and d_embed == d_model:
            return own
        tied = theirs.get("tie_projs", [False] + [theirs.get("proj_share_all_but_first", True)] * len(cutoffs))
        if div_value == 1 and d_embed == d_model:
            tied = [True] * (len(cutoffs) + 1)
        return own | {
            "cutoffs": cutoffs,
            "div_value": div_value,
            "projected": {"d_embed": d_embed, "tied": tied},
        }

    def theirs(self, config: TransformerXLConfig, kept: Mapping[str, Any]) -> dict[str, Any]:
        for key, is_theirs in {
            "mem_len": len(set(config.mem_lens)) == 1,
            "attention_range": set(config.attention_ranges) == {-1} or config.same_length,
            "pre_norm": not config.pre_norm,
            "clamp_len": config.clamp_len != 0,
            "head": config.head == "softmax",
            "cutoffs": not config.cutoffs or config.projected is not None,
        }.items():
            if not is_theirs:
                raise SeqmemError(
                    f"{key} = {getattr(config, key)!r} of a transformer-xl has no counterpart at Hugging Face; "
                    "it can be used with seqmem only"
                )
        d_embed = config.projected.d_embed if config.projected else config.d_model
        return {
            "mem_len": config.mem_lens[0],
            "tgt_len": config.segment_len,
            "clamp_len": config.clamp_len,
            "cutoffs": list(config.cutoffs),
            "div_val": int(config.div_value) if config.projected else 1,
            "d_embed": d_embed,
            "tie_projs": list(config.projected.tied) if config.projected else [False],
        }

    def pairs(self, config: TransformerXLConfig, theirs: Mapping[str, Any]) -> Iterator[Pair]:
        layers = [f"transformer.layers.{index}" for index in range(config.num_layers)]
        for ours, name in (("u", "r_w_bias"), ("v", "r_r_bias")):
            each = tuple(f"{layer}.dec_attn.{name}" for layer in layers)
            if config.untie_uv:
                yield Pair(ours, each, stacked=True)
            else:
                yield Pair(ours, (f"transformer.{name}",), each, stacked=True)
        for index, layer in enumerate(layers):
            block, attention, feed_forward = f"blocks.{index}", f"{layer}.dec_attn", f"{layer}.pos_ff"
            yield Pair(f"{block}.attention.qkv.weight", (f"{attention}.qkv_net.weight",))
            yield Pair(f"{block}.attention.out.weight", (f"{attention}.o_net.weight",))
            yield Pair(f"position_projections.{index}.weight", (f"{attention}.r_net.weight",))
            yield from linear(f"{block}.attention_norm", f"{attention}.layer_norm")
            yield from linear(f"{block}.feed_forward.0", f"{feed_forward}.CoreNet.0")
            yield from linear(f"{block}.feed_forward.3", f"{feed_forward}.CoreNet.3")
            yield from linear(f"{block}.feed_forward_norm", f"{feed_forward}.layer_norm")
        yield from _clusters(config) if config.projected else _table("head.weight", "head.bias", 0)

    def import_notes(self, config: TransformerXLConfig, theirs: Mapping[str, Any]) -> list[str]:
        if "tgt_len" in theirs:
            return []
        return [
            f"memory moves every segment_len = {config.segment_len} tokens, our choice: theirs moves it after every "
            "call; for another length, model.with_lengths(segment_len=...)"
        ]

    def export_notes(self, config: TransformerXLConfig, kept: Mapping[str, Any]) -> list[str]:
        if config.memory_init == "zeros" or not config.mem_lens[0]:
            return []
        return [
            "memory begins empty here and as zeros that take part at Hugging Face: there the first "
            f"{config.mem_lens[0]} tokens of a text will differ"
        ]


def _clusters(config: TransformerXLConfig) -> Iterator[Pair]:
    """Of :class:`seqmem.layers.projected_softmax.ProjectedSoftmax`."""
    assert config.projected is not None
    num_clusters = len(config.cutoffs) + 1
    num_tables = 1 if config.div_value == 1 else num_clusters
    for table in range(num_tables):
        yield from _table(f"head.vectors.{table}", f"head.biases.{table}", table)
    if config.cutoffs:
        yield Pair("head.cluster_vectors", (f"{LOGITS}.cluster_weight",))
        yield Pair("head.cluster_bias", (f"{LOGITS}.cluster_bias",))
    if config.div_value == 1 and config.projected.d_embed == config.d_model:
        return
    shared: dict[int, list[str]] = {table: [] for table in range(num_tables)}
    for cluster, is_tied in enumerate(config.projected.tied):
        name = f"{LOGITS}.out_projs.{cluster}"
        if is_tied:
            shared[min(cluster, num_tables - 1)].append(name)
        else:
            yield Pair(f"head.own_projections.{cluster}", (name,))
    for table, ties in shared.items():
        yield Pair(f"head.projections.{table}", (f"{WORDS}.emb_projs.{table}",), tuple(ties))


def _table(weight: str, bias: str, index: int) -> Iterator[Pair]:
    """Vectors and biases of tokens."""
    yield Pair(weight, (f"{WORDS}.emb_layers.{index}.weight",), (f"{LOGITS}.out_layers.{index}.weight",))
    yield Pair(bias, (f"{LOGITS}.out_layers.{index}.bias",))

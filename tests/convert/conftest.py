"""Folders as Hugging Face's transformers would write them, made by hand."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

LONGFORMER = {
    "model_type": "longformer",
    "architectures": ["LongformerForMaskedLM"],
    "vocab_size": 30,
    "hidden_size": 12,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 20,
    "max_position_embeddings": 42,
    "type_vocab_size": 2,
    "layer_norm_eps": 1e-5,
    "attention_window": [4, 8],
    "pad_token_id": 1,
    "sep_token_id": 2,
}
BIGBIRD = {
    "model_type": "big_bird",
    "architectures": ["BigBirdForMaskedLM"],
    "vocab_size": 30,
    "hidden_size": 12,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 20,
    "max_position_embeddings": 42,
    "block_size": 4,
    "num_random_blocks": 2,
    "pad_token_id": 0,
    "sep_token_id": 66,
}
TRANSFORMER_XL = {
    "model_type": "transfo-xl",
    "architectures": ["TransfoXLLMHeadModel"],
    "vocab_size": 40,
    "cutoffs": [10, 25],
    "div_val": 2,
    "d_embed": 16,
    "d_model": 12,
    "n_head": 3,
    "d_head": 4,
    "d_inner": 20,
    "n_layer": 2,
    "mem_len": 6,
    "clamp_len": 5,
    "same_length": False,
    "untie_r": True,
    "tie_projs": [False, True, True],
}


def random(shapes: dict[str, tuple[int, ...]]) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {name: torch.randn(shape, generator=generator) * 0.2 for name, shape in shapes.items()}


def affine(name: str, rows: int, columns: int | None = None) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (rows,) if columns is None else (rows, columns), f"{name}.bias": (rows,)}


def bert_shapes(body: str, suffixes: tuple[str, ...] = ("",)) -> dict[str, tuple[int, ...]]:
    """Of embeddings and layers, whose attention has projections of so many kinds."""
    d, inner, embeddings = 12, 20, f"{body}.embeddings"
    shapes: dict[str, tuple[int, ...]] = {
        f"{embeddings}.word_embeddings.weight": (30, d),
        f"{embeddings}.position_embeddings.weight": (42, d),
        f"{embeddings}.token_type_embeddings.weight": (2, d),
        **affine(f"{embeddings}.LayerNorm", d),
    }
    for index in range(2):
        layer = f"{body}.encoder.layer.{index}"
        for part in ("query", "key", "value"):
            for suffix in suffixes:
                shapes |= affine(f"{layer}.attention.self.{part}{suffix}", d, d)
        shapes |= affine(f"{layer}.attention.output.dense", d, d) | affine(f"{layer}.attention.output.LayerNorm", d)
        shapes |= affine(f"{layer}.intermediate.dense", inner, d) | affine(f"{layer}.output.dense", d, inner)
        shapes |= affine(f"{layer}.output.LayerNorm", d)
    return shapes


def longformer_tensors() -> dict[str, Tensor]:
    """Of a LongformerForMaskedLM, as save_pretrained names them."""
    head = affine("lm_head.dense", 12, 12) | affine("lm_head.layer_norm", 12)
    tensors = random(bert_shapes("longformer", ("", "_global")) | head | {"lm_head.bias": (30,)})
    tensors["longformer.embeddings.position_embeddings.weight"][:2] = 0
    return tensors


def bigbird_tensors() -> dict[str, Tensor]:
    """Of a BigBirdForMaskedLM, as save_pretrained names them."""
    name = "cls.predictions"
    head = affine(f"{name}.transform.dense", 12, 12) | affine(f"{name}.transform.LayerNorm", 12)
    return random(bert_shapes("bert") | head | {f"{name}.bias": (30,)})


def transformer_xl_tensors() -> dict[str, Tensor]:
    """Of a TransfoXLLMHeadModel with clusters that narrow, as save_pretrained names them."""
    d, inner = 12, 20
    shapes: dict[str, tuple[int, ...]] = {
        "crit.cluster_weight": (2, 16),
        "crit.cluster_bias": (2,),
        "crit.out_projs.0": (d, 16),
    }
    for cluster, (size, width) in enumerate([(10, 16), (15, 8), (15, 4)]):
        shapes[f"transformer.word_emb.emb_layers.{cluster}.weight"] = (size, width)
        shapes[f"transformer.word_emb.emb_projs.{cluster}"] = (d, width)
        shapes[f"crit.out_layers.{cluster}.bias"] = (size,)
    for index in range(2):
        layer = f"transformer.layers.{index}"
        attention = f"{layer}.dec_attn"
        shapes |= {f"{attention}.r_w_bias": (3, 4), f"{attention}.r_r_bias": (3, 4)}
        shapes |= {f"{attention}.qkv_net.weight": (36, d), f"{attention}.o_net.weight": (d, 12)}
        shapes |= {f"{attention}.r_net.weight": (12, d)} | affine(f"{attention}.layer_norm", d)
        shapes |= affine(f"{layer}.pos_ff.CoreNet.0", inner, d) | affine(f"{layer}.pos_ff.CoreNet.3", d, inner)
        shapes |= affine(f"{layer}.pos_ff.layer_norm", d)
    return random(shapes)


KINDS: dict[str, tuple[dict[str, Any], Callable[[], dict[str, Tensor]]]] = {
    "longformer": (LONGFORMER, longformer_tensors),
    "bigbird": (BIGBIRD, bigbird_tensors),
    "transformer-xl": (TRANSFORMER_XL, transformer_xl_tensors),
}


@dataclass
class Theirs:
    """A model of theirs, to be written as a folder."""

    kind: str
    root: Path

    def __post_init__(self) -> None:
        self.config, tensors = KINDS[self.kind]
        self.tensors = tensors()

    def write(self, name: str = "theirs", tensors: dict[str, Tensor] | None = None, **config: Any) -> Path:
        """A folder with its configuration, of which some keys may differ, and its tensors or others."""
        folder = self.root / name
        folder.mkdir(exist_ok=True)
        (folder / "config.json").write_text(json.dumps(self.config | config))
        save_file(self.tensors if tensors is None else tensors, folder / "model.safetensors", {"format": "pt"})
        return folder


@pytest.fixture(params=KINDS)
def theirs(request: pytest.FixtureRequest, tmp_path: Path) -> Theirs:
    """Of every architecture."""
    return Theirs(request.param, tmp_path)


@pytest.fixture
def longformer(tmp_path: Path) -> Theirs:
    return Theirs("longformer", tmp_path)


@pytest.fixture
def transformer_xl(tmp_path: Path) -> Theirs:
    return Theirs("transformer-xl", tmp_path)

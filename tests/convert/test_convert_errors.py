"""Every folder that cannot be converted says what, why and what to do, in one line, and nothing is written."""

import json
from pathlib import Path

import pytest
import torch

from seqmem.convert.export_hf import export_hf
from seqmem.convert.import_hf import import_hf
from seqmem.errors import SeqmemError
from seqmem.models import build_encoder, build_model
from seqmem.ops import bind
from seqmem.train.checkpoint import load_recipe_of, write_model


def refused(message: str, path: Path, convert=import_hf) -> str:
    """The one line with which a conversion fails; nothing is left behind."""
    out = path.parent / "out"
    with pytest.raises(SeqmemError, match=message) as error:
        convert(path, out)
    assert "\n" not in str(error.value)
    assert not out.exists()
    assert not list(path.parent.glob(".*partial"))
    return str(error.value)


OPTIONS = [
    ("longformer", {"model_type": "longformr"}, "'longformr' cannot be converted; did you mean 'longformer'"),
    (
        "longformer",
        {"model_type": None},
        "model_type None cannot be converted; known: big_bird, longformer, transfo-xl",
    ),
    ("longformer", {"hidden_act": "relu"}, "hidden_act = 'relu' of a longformer .*; give a model with 'gelu'"),
    ("longformer", {"position_embedding_type": "relative_key"}, "position_embedding_type = 'relative_key'"),
    ("longformer", {"tie_word_embeddings": False}, "tie_word_embeddings = False"),
    ("longformer", {"attention_window": [4, 7]}, r"attention_window = \[4, 7\] should be even and positive"),
    ("longformer", {"attention_window": [4]}, "config.json: window has 1 values for 2 layers"),
    ("longformer", {"attention_window": "4"}, "attention_window = '4' should be even"),
    ("longformer", {"pad_token_id": None}, "pad_token_id = None should be a whole number"),
    ("longformer", {"pad_token_id": -2}, "pad_token_id = -2 should be a whole number from 0 on"),
    ("longformer", {"num_attention_heads": 5}, "config.json: d_model = 12 is not a multiple of num_heads = 5"),
    ("longformer", {"vocab_size": 31}, r"word_embeddings.weight has shape \[30, 12\], config.json asks for \[31, 12\]"),
    ("longformer", {"num_hidden_layers": 3, "attention_window": 4}, "lacks the tensor longformer.encoder.layer.2"),
    ("longformer", {"num_hidden_layers": 1, "attention_window": 4}, "holds longformer.encoder.layer.1.* does not have"),
    ("bigbird", {"hidden_act": "gelu"}, "hidden_act = 'gelu' of a big_bird .*; give a model with 'gelu_new'"),
    ("bigbird", {"attention_type": "original_full"}, "attention_type = 'original_full'"),
    ("bigbird", {"rescale_embeddings": True}, "rescale_embeddings = True"),
    ("bigbird", {"use_bias": False}, "use_bias = False"),
    ("bigbird", {"is_decoder": True}, "is_decoder = True"),
    ("bigbird", {"max_position_embeddings": 40}, r"position_embeddings.weight has shape \[42, 12\], .* \[40, 12\]"),
    ("transformer-xl", {"attn_type": 1}, "attn_type = 1 of a transfo-xl has no counterpart here; give a model with 0"),
    ("transformer-xl", {"pre_lnorm": True}, "pre_lnorm = True of a transfo-xl"),
    ("transformer-xl", {"layer_norm_epsilon": 1e-6}, "layer_norm_epsilon = 1e-06"),
    ("transformer-xl", {"cutoffs": 10}, "cutoffs = 10 should be a list of ids"),
    ("transformer-xl", {"cutoffs": [25, 10]}, r"cutoffs = \(25, 10\) should rise"),
    ("transformer-xl", {"div_val": 1.5}, "div_val = 1.5 should be a whole number"),
    ("transformer-xl", {"tie_projs": [True]}, "tied has 1 values for 3 clusters"),
    ("transformer-xl", {"same_length": True, "mem_len": 0}, "same_length with mem_len = 0"),
    ("transformer-xl", {"div_val": 4}, r"emb_layers.1.weight has shape \[15, 8\], config.json asks for \[15, 4\]"),
    ("transformer-xl", {"tie_projs": [True, True, True]}, "out_projs.0 and transformer.word_emb.emb_projs.0 differ"),
]


@pytest.mark.parametrize(("theirs", "option", "message"), OPTIONS, indirect=["theirs"])
def test_options_that_do_not_fit_are_refused(theirs, option: dict, message: str):
    refused(message, theirs.write(**option))


def test_pickled_weights_are_never_opened(theirs):
    path = theirs.write()
    (path / "model.safetensors").rename(path / "pytorch_model.bin")
    line = refused("pytorch_model.bin, a pickle, which can run any code and is never opened", path)
    named = theirs.config["architectures"][0]
    assert f"from transformers import {named} as M; M.from_pretrained('{path}')" in line


def test_folders_without_the_files_are_refused(theirs, tmp_path: Path):
    path = theirs.write()
    refused("'.*nowhere' is no folder; give one that save_pretrained wrote", tmp_path / "nowhere")
    (path / "model.safetensors").unlink()
    refused("holds no model.safetensors; give a folder that save_pretrained wrote", path)
    (path / "config.json").write_text("[]")
    refused("config.json is no JSON object", path)
    (path / "config.json").unlink()
    refused("config.json cannot be read", path)


@pytest.mark.parametrize("size", [0, 5, 1000])
def test_damaged_weights_are_refused(theirs, size: int):
    file = theirs.write() / "model.safetensors"
    file.write_bytes(file.read_bytes()[:size])
    refused(r"model\.safetensors cannot be read \(.*\); download it again", file.parent)


def test_shards_that_are_incomplete_are_refused(theirs):
    path = theirs.write()
    (path / "model.safetensors").rename(path / "model-00001-of-00001.safetensors")
    index = path / "model.safetensors.index.json"
    places = dict.fromkeys(theirs.tensors, "model-00001-of-00001.safetensors")
    index.write_text(json.dumps({"weight_map": places | {"more": "model-00001-of-00001.safetensors"}}))
    refused("index.json lists more, which no shard holds", path)
    index.write_text(json.dumps({"weight_map": places | {"more": "model-00002-of-00001.safetensors"}}))
    refused("model-00002-of-00001.safetensors cannot be read", path)
    index.write_text(json.dumps({"weight_map": places | {"more": "../model.safetensors"}}))
    refused("has no weight_map of names to files beside it", path)


@pytest.mark.parametrize("dtype", [torch.int8, torch.float8_e4m3fn])
def test_tensors_of_the_wrong_kind_are_refused(theirs, dtype: torch.dtype):
    name = min(theirs.tensors)
    whole = {name: torch.zeros_like(theirs.tensors[name], dtype=dtype)}
    refused(f"{name} is {dtype}; give weights that are not quantised", theirs.write(tensors=theirs.tensors | whole))


def test_part_of_a_head_is_refused(theirs):
    head = {
        "longformer": "lm_head.bias",
        "bigbird": "cls.predictions.bias",
        "transformer-xl": "crit.out_layers.1.bias",
    }[theirs.kind]
    path = theirs.write(tensors={name: tensor for name, tensor in theirs.tensors.items() if name != head})
    refused(f"lacks the tensor {head}; download the whole folder", path)


def test_an_existing_folder_is_not_written_over(theirs, tmp_path: Path):
    path = theirs.write()
    (tmp_path / "ours").mkdir()
    import_hf(path, tmp_path / "ours")
    before = (tmp_path / "ours" / "model.safetensors").read_bytes()
    with pytest.raises(SeqmemError, match=r"'.*ours' exists already; name a new folder with --out"):
        import_hf(path, tmp_path / "ours")
    with pytest.raises(SeqmemError, match=r"'.*theirs' exists already"):
        export_hf(tmp_path / "ours", path)
    assert (tmp_path / "ours" / "model.safetensors").read_bytes() == before


@pytest.mark.parametrize(
    ("name", "overrides", "message"),
    [
        ("compressive", {}, "model 'compressive' cannot be converted; known: bigbird, longformer, transformer-xl"),
        (
            "transformer-xl",
            {"pre_norm": True},
            "pre_norm = True of a transformer-xl has no counterpart at Hugging Face",
        ),
        ("transformer-xl", {"mem_len": (16, 8)}, r"mem_len = \(16, 8\)"),
        ("transformer-xl", {"attention_range": (4, -1)}, r"attention_range = \(4, -1\)"),
        ("transformer-xl", {"clamp_len": 0}, "clamp_len = 0"),
        ("transformer-xl", {"head": "logistic-mixture"}, "head = 'logistic-mixture'"),
        ("transformer-xl", {"cutoffs": (20, 100)}, r"cutoffs = \(20, 100\)"),
        ("longformer", {"dilation": 2}, "dilation = 2, but Hugging Face's Longformer has none"),
    ],
)
def test_models_that_hugging_face_does_not_have_are_refused(name: str, overrides: dict, message: str, tmp_path: Path):
    build = build_encoder if name == "longformer" else build_model
    (tmp_path / "ours").mkdir()
    write_model(tmp_path / "ours", name, build(f"{name}/tiny", bind("pytorch"), **overrides))
    refused(message, tmp_path / "ours", export_hf)


def test_an_imported_folder_says_that_it_has_no_recipe(theirs, tmp_path: Path):
    import_hf(theirs.write(), tmp_path / "ours")
    with pytest.raises(SeqmemError, match="has no recipe, because its model was imported; name a run"):
        load_recipe_of(tmp_path / "ours")

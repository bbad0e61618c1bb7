"""What a folder of Hugging Face's holds comes back to the bit, however it was stored."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import seqmem
from seqmem.convert.export_hf import export_hf
from seqmem.convert.import_hf import import_hf
from seqmem.models import build_encoder, build_model
from seqmem.ops import bind
from seqmem.train.checkpoint import load, load_encoder, write_model


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def assert_same(found: dict[str, torch.Tensor], wanted: dict[str, torch.Tensor]) -> None:
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)


def test_a_folder_comes_back_to_the_bit(theirs, tmp_path: Path):
    import_hf(theirs.write(), tmp_path / "ours")
    assert export_hf(tmp_path / "ours", tmp_path / "back") == []
    assert_same(weights(tmp_path / "back"), theirs.tensors)
    config = json.loads((tmp_path / "back" / "config.json").read_text())
    assert {key: config[key] for key in theirs.config} == theirs.config
    import_hf(tmp_path / "back", tmp_path / "again")
    assert_same(weights(tmp_path / "again"), weights(tmp_path / "ours"))


def test_the_model_is_in_float32_and_has_every_tensor(theirs, tmp_path: Path):
    import_hf(theirs.write(), tmp_path / "ours")
    model = (seqmem.load if theirs.kind == "transformer-xl" else seqmem.load_encoder)(tmp_path / "ours")
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    lead = 2 * 12 if theirs.kind == "longformer" else 0
    assert model.num_parameters == sum(tensor.numel() for tensor in theirs.tensors.values()) - lead


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_read_as_it_is(theirs, dtype: torch.dtype, tmp_path: Path):
    half = {name: tensor.to(dtype) for name, tensor in theirs.tensors.items()}
    import_hf(theirs.write(tensors=half), tmp_path / "ours")
    export_hf(tmp_path / "ours", tmp_path / "back")
    assert_same(weights(tmp_path / "back"), {name: tensor.float() for name, tensor in half.items()})


def test_shards_are_one_folder(theirs, tmp_path: Path):
    path, tensors = theirs.write(), theirs.tensors
    import_hf(path, tmp_path / "whole")
    (path / "model.safetensors").unlink()
    places = {name: f"model-{1 + i % 3:05}-of-00003.safetensors" for i, name in enumerate(tensors)}
    for file in set(places.values()):
        save_file({name: tensors[name] for name in tensors if places[name] == file}, path / file)
    (path / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": places}))
    import_hf(path, tmp_path / "ours")
    assert_same(weights(tmp_path / "ours"), weights(tmp_path / "whole"))


def test_admin_is_folded_on_the_way_out(tmp_path: Path):
    torch.manual_seed(0)
    model = build_encoder("bigbird/tiny", bind("pytorch"), admin=True).eval()
    for name, parameter in model.named_parameters():
        torch.nn.init.uniform_(parameter, *((0.5, 2.0) if "_shortcut" in name else (-0.2, 0.2)))
    ours = tmp_path / "ours"
    ours.mkdir()
    write_model(ours, "bigbird", model)
    export_hf(ours, tmp_path / "theirs")
    import_hf(tmp_path / "theirs", tmp_path / "back")
    back, ids = seqmem.load_encoder(tmp_path / "back"), torch.arange(20)[None]
    assert not back.config.admin
    torch.testing.assert_close(back(ids), model(ids), atol=1e-4, rtol=1e-4)


TIES = {
    "longformer": {
        "lm_head.decoder.weight": "longformer.embeddings.word_embeddings.weight",
        "lm_head.decoder.bias": "lm_head.bias",
    },
    "bigbird": {
        "cls.predictions.decoder.weight": "bert.embeddings.word_embeddings.weight",
        "cls.predictions.decoder.bias": "cls.predictions.bias",
    },
    "transformer-xl": {
        "crit.out_layers.1.weight": "transformer.word_emb.emb_layers.1.weight",
        "crit.out_projs.2": "transformer.word_emb.emb_projs.2",
    },
}


def test_tied_weights_may_be_there_twice_or_under_the_other_name(theirs, tmp_path: Path):
    import_hf(theirs.write(), tmp_path / "once")
    ties = TIES[theirs.kind]
    twice = theirs.tensors | {copy: theirs.tensors[name].clone() for copy, name in ties.items()}
    import_hf(theirs.write("twice", twice), tmp_path / "from-twice")
    other = {name: tensor for name, tensor in twice.items() if name not in ties.values()}
    import_hf(theirs.write("other", other), tmp_path / "from-other")
    for folder in ("from-twice", "from-other"):
        assert_same(weights(tmp_path / folder), weights(tmp_path / "once"))


@pytest.mark.parametrize("prefixed", [False, True])
def test_without_a_language_models_head_it_is_new_and_said(theirs, tmp_path: Path, prefixed: bool):
    import_hf(theirs.write(), tmp_path / "with")
    body = {"longformer": "longformer.", "bigbird": "bert.", "transformer-xl": "transformer."}[theirs.kind]
    tensors = {name: tensor for name, tensor in theirs.tensors.items() if name.startswith(body)}
    bare = {name.removeprefix("" if prefixed else body): t for name, t in tensors.items()}
    if prefixed:
        bare |= {"classifier.out_proj.weight": torch.ones(2, 12)}
    path = theirs.write("bare", bare)
    notes = import_hf(path, tmp_path / "ours")
    assert f"'{path}' has no language model's head; here it is as in a new model, from seed 0" in notes
    assert any("left out" in note and "classifier.out_proj.weight" in note for note in notes) == prefixed
    found, wanted = weights(tmp_path / "ours"), weights(tmp_path / "with")
    same = {name for name in wanted if torch.equal(found[name], wanted[name])}
    assert {name for name in wanted if not name.startswith("head.")} <= same
    assert ("head.vectors.2" if theirs.kind == "transformer-xl" else "head.weight") in same
    import_hf(path, tmp_path / "again")
    assert_same(weights(tmp_path / "again"), found)


def test_pooler_is_named_and_buffers_are_not(longformer, tmp_path: Path):
    tensors = longformer.tensors | {
        "longformer.embeddings.position_ids": torch.arange(42)[None],
        "longformer.pooler.dense.weight": torch.ones(12, 12),
        "longformer.pooler.dense.bias": torch.ones(12),
    }
    notes = import_hf(longformer.write(tensors=tensors), tmp_path / "ours")
    names = "longformer.pooler.dense.bias, longformer.pooler.dense.weight"
    assert notes == [f"left out, because the model here has no place for them: {names}"]


def test_windows_and_positions_are_counted_as_here(longformer, tmp_path: Path):
    import_hf(longformer.write(pad_token_id=0, attention_window=6), tmp_path / "ours")
    model = load_encoder(tmp_path / "ours")
    assert (model.config.window, model.config.max_len) == (3, 41)
    table = longformer.tensors["longformer.embeddings.position_embeddings.weight"]
    assert torch.equal(model.positions.weight, table[1:])
    export_hf(tmp_path / "ours", tmp_path / "back")
    back = json.loads((tmp_path / "back" / "config.json").read_text())
    assert (back["attention_window"], back["max_position_embeddings"], back["pad_token_id"]) == ([6, 6], 42, 0)


def test_one_table_of_words_keeps_its_shared_biases(transformer_xl, tmp_path: Path):
    tensors = {name: t for name, t in transformer_xl.tensors.items() if "crit" not in name and "word" not in name}
    for name in ("r_w_bias", "r_r_bias"):
        tensors[f"transformer.{name}"] = tensors.pop(f"transformer.layers.0.dec_attn.{name}")
        del tensors[f"transformer.layers.1.dec_attn.{name}"]
    tensors |= {
        "transformer.word_emb.emb_layers.0.weight": torch.randn(40, 12),
        "crit.out_layers.0.bias": torch.ones(40),
    }
    path = transformer_xl.write(tensors=tensors, cutoffs=[], div_val=1, d_embed=12, untie_r=False, tie_projs=[False])
    notes = import_hf(path, tmp_path / "ours")
    assert [note.partition(",")[0] for note in notes] == ["memory moves every segment_len = 128 tokens"]
    model = load(tmp_path / "ours")
    assert (len(model.u), model.config.projected, model.config.memory_init) == (1, None, "zeros")
    export_hf(tmp_path / "ours", tmp_path / "back")
    assert_same(weights(tmp_path / "back"), tensors)


def test_tokenizer_goes_along_and_comes_back(theirs, tmp_path: Path):
    path = theirs.write()
    (path / "tokenizer.json").write_bytes(b'{"\xc3\xa9": 1}\r\n')
    (path / "README.md").touch()
    import_hf(path, tmp_path / "ours")
    assert [file.name for file in (tmp_path / "ours" / "hf_tokenizer").iterdir()] == ["tokenizer.json"]
    export_hf(tmp_path / "ours", tmp_path / "back")
    names = {file.name for file in (tmp_path / "back").iterdir()}
    assert names == {"config.json", "model.safetensors", "tokenizer.json"}
    assert (tmp_path / "back" / "tokenizer.json").read_bytes() == (path / "tokenizer.json").read_bytes()


def test_models_that_were_trained_here_can_be_given_away(tmp_path: Path):
    made = {
        "longformer": (build_encoder, "takes token 1 for padding", load_encoder),
        "bigbird": (build_encoder, "every one is the first block outside training", load_encoder),
        "transformer-xl": (build_model, "there the first 16 tokens of a text will differ", load),
    }
    for name, (build, note, read) in made.items():
        model = build(f"{name}/tiny", bind("pytorch"))
        (tmp_path / name).mkdir()
        write_model(tmp_path / name, name, model)
        (found,) = export_hf(tmp_path / name, tmp_path / f"{name}-theirs")
        assert note in found
        import_hf(tmp_path / f"{name}-theirs", tmp_path / f"{name}-again")
        again = read(tmp_path / f"{name}-again")
        assert_same(dict(again.named_parameters()), dict(model.named_parameters()))

"""What a checkpoint holds, and the errors of folders that are none."""

import shutil

import pytest
import torch
from safetensors import safe_open

from seqmem.errors import SeqmemError
from seqmem.train.checkpoint import find_checkpoint, load, load_recipe_of, load_tokenizer, run_folder
from seqmem.train.trainer import train


@pytest.fixture
def run(recipe, tmp_path, console):
    return train(recipe, tmp_path / "run", console=console)


def test_run_and_checkpoint_folders_both_name_the_model(run):
    newest = run / "checkpoints" / "step-00000012"
    assert find_checkpoint(run) == newest
    assert run_folder(newest) == run_folder(run) == run
    for name, weight in load(run).state_dict().items():
        assert torch.equal(weight, load(str(newest)).state_dict()[name])


def test_older_checkpoint_can_be_named(run):
    older, newer = (load(run / "checkpoints" / name).state_dict() for name in ("step-00000008", "step-00000012"))
    assert any(not torch.equal(older[name], newer[name]) for name in newer)


def test_tied_weights_are_stored_once(run):
    model = load(run)
    with safe_open(find_checkpoint(run) / "model.safetensors", "pt") as file:
        assert (
            len(file.keys()) == len(list(model.parameters())) + len(list(model.buffers())) < len(model.state_dict()) + 1
        )


def test_copied_checkpoint_is_complete(run, tmp_path):
    copy = shutil.copytree(find_checkpoint(run), tmp_path / "elsewhere" / "copy")
    shutil.rmtree(run)
    assert load(copy).config.vocab_size == load_tokenizer(copy).vocab_size == 300
    assert load_recipe_of(copy).name == "tiny"
    assert run_folder(copy) == copy


def test_folders_without_checkpoint_are_errors(tmp_path):
    with pytest.raises(SeqmemError, match="does not exist; name a run folder"):
        load(tmp_path / "nowhere")
    with pytest.raises(SeqmemError, match="holds no checkpoint"):
        load(tmp_path)


def test_foreign_folder_is_an_error(tmp_path):
    (tmp_path / "model.safetensors").touch()
    with pytest.raises(SeqmemError, match=r"config\.json is not a seqmem checkpoint's"):
        load(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "gpt2"}')
    with pytest.raises(SeqmemError, match=r"config\.json is not a seqmem checkpoint's"):
        load(tmp_path)
    (tmp_path / "config.json").write_text('{"format": 99}')
    with pytest.raises(SeqmemError, match="has format 99, this version reads 1"):
        load(tmp_path)


@pytest.mark.parametrize("size", [0, 5, 1000])
def test_truncated_weights_are_an_error(run, size):
    file = find_checkpoint(run) / "model.safetensors"
    file.write_bytes(file.read_bytes()[:size])
    with pytest.raises(SeqmemError, match=r"model\.safetensors cannot be read"):
        load(run)


@pytest.mark.parametrize("name", ["trainer.json", "trainer.safetensors"])
@pytest.mark.parametrize("size", [None, 20])
def test_damaged_trainer_state_is_an_error(run, recipe, console, name, size):
    file = find_checkpoint(run) / name
    content = file.read_bytes()
    file.unlink()
    if size:
        file.write_bytes(content[:size])
    with pytest.raises(SeqmemError, match="training cannot go on from here"):
        train(recipe, run, console=console)

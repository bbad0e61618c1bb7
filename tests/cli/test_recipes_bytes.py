"""Recipes of bytes: models of one size in their comparisons, and a run from training to text."""

from pathlib import Path

import pytest
import torch

from seqmem.config import BYTE_VOCAB_SIZE
from seqmem.models import build_model, model_config
from seqmem.ops import bind
from seqmem.recipe import builtin_recipes
from seqmem.report.plan import load_plan
from seqmem.report.runs import tokens_a_step
from seqmem.train.checkpoint import load_tokenizer

COMPARED = {
    "windows": {
        "transformer-xl",
        "compressive",
        "longformer-lm",
        "sparse-transformer",
        "bigbird-lm",
        "adaptive-span",
        "light-conv",
    },
    "linear": {
        "transformer-xl",
        "reformer",
        "titans-lmm",
        "titans-mac",
        "titans-mag",
        "titans-mal",
        "linear-transformer",
        "performer",
    },
}


@pytest.mark.parametrize("name", COMPARED)
def test_compared_models_have_as_many_parameters_within_two_percent_and_read_as_much_a_step(name: str):
    plan = load_plan(name)
    assert {recipe.model["name"] for recipe in plan.recipes.values()} == COMPARED[name]
    sizes = []
    for recipe in plan.recipes.values():
        config = model_config(recipe.model_name, **recipe.model_overrides, **recipe.vocabulary_settings)
        assert config.vocab_size == BYTE_VOCAB_SIZE
        assert tokens_a_step(recipe) == 1024
        with torch.device("meta"):
            sizes.append(build_model(config, bind("pytorch")).num_parameters)
    assert max(sizes) / min(sizes) < 1.02


def test_comparisons_share_their_protocol():
    windows, linear = (load_plan(name).recipes["transformer-xl"] for name in COMPARED)
    assert windows.model_dump(exclude={"name", "description"}) == linear.model_dump(exclude={"name", "description"})


@pytest.mark.parametrize("name", COMPARED)
def test_each_has_a_readme_with_its_commands(name: str):
    text = (builtin_recipes()[name] / "README.md").read_text(encoding="utf-8")
    for verb in ("train", "compare --recipe"):
        assert f"seqmem {verb} recipes/{name}" in text


@pytest.mark.parametrize("name", COMPARED)
@pytest.mark.parametrize("content", [b"A line of text.\n" * 200, bytes(range(256)) * 12])
def test_a_run_of_bytes_from_training_to_text(seqmem, tmp_path: Path, name: str, content: bytes):
    (tmp_path / "data").write_bytes(content)
    run = tmp_path / "run"
    small = ["model.size=tiny", "train.steps=2", "train.num_threads=1", "generate.tokens=5", "backend=pytorch"]
    trained = seqmem("train", name, "--data", tmp_path / "data", "--run", run, *small)
    assert trained.code == 0, trained.err
    assert "bytes, 257 ids with BOS" in trained.out
    assert load_tokenizer(run).vocab_size == BYTE_VOCAB_SIZE
    evaluated = seqmem("eval", run, "--split", "test", "--backend", "pytorch")
    assert evaluated.code == 0, evaluated.err
    num_bytes = len(content) - len(content) * 95 // 100
    assert f"({num_bytes:,} tokens)" in evaluated.out
    assert f"({num_bytes:,} bytes)" in evaluated.out
    assert seqmem("generate", run, "--prompt", "é").out.startswith("é")

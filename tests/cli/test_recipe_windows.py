"""recipes/windows: models of one size, a run of bytes from training to text, and the stages of its sizes."""

import re
import shutil
from pathlib import Path

import pytest
import torch

from seqmem.config import BYTE_VOCAB_SIZE
from seqmem.errors import SeqmemError
from seqmem.models import build_model, model_config
from seqmem.ops import bind
from seqmem.recipe import builtin_recipes, load_recipe
from seqmem.report.plan import load_plan
from seqmem.report.runs import tokens_a_step
from seqmem.train.checkpoint import load_tokenizer
from seqmem.train.stages import stages_of

MODELS = {
    "transformer-xl",
    "compressive",
    "longformer-lm",
    "sparse-transformer",
    "bigbird-lm",
    "adaptive-span",
    "light-conv",
}


def test_seven_models_have_as_many_parameters_within_two_percent_and_read_as_much_a_step():
    plan = load_plan("windows")
    assert {recipe.model["name"] for recipe in plan.recipes.values()} == MODELS
    sizes = []
    for recipe in plan.recipes.values():
        config = model_config(recipe.model_name, **recipe.model_overrides, **recipe.vocabulary_settings)
        assert config.vocab_size == BYTE_VOCAB_SIZE
        assert tokens_a_step(recipe) == 1024
        with torch.device("meta"):
            sizes.append(build_model(config, bind("pytorch")).num_parameters)
    assert max(sizes) / min(sizes) < 1.02


@pytest.mark.parametrize("content", [b"A line of text.\n" * 200, bytes(range(256)) * 12])
def test_a_run_of_bytes_from_training_to_text(seqmem, tmp_path: Path, content: bytes):
    (tmp_path / "data").write_bytes(content)
    run = tmp_path / "run"
    small = ["model.size=tiny", "train.steps=2", "train.num_threads=1", "generate.tokens=5", "backend=pytorch"]
    trained = seqmem("train", "windows", "--data", tmp_path / "data", "--run", run, *small)
    assert trained.code == 0, trained.err
    assert "bytes, 257 ids with BOS" in trained.out
    assert load_tokenizer(run).vocab_size == BYTE_VOCAB_SIZE
    evaluated = seqmem("eval", run, "--split", "test", "--backend", "pytorch")
    assert evaluated.code == 0, evaluated.err
    num_bytes = len(content) - len(content) * 95 // 100
    assert f"({num_bytes:,} tokens)" in evaluated.out
    assert f"({num_bytes:,} bytes)" in evaluated.out
    assert seqmem("generate", run, "--prompt", "é").out.startswith("é")


@pytest.mark.parametrize(("size", "parameters", "steps"), [("small", 41.1, 570_000), ("large", 102.5, 395_000)])
def test_published_stages_double_lengths_and_halve_rates(seqmem, size: str, parameters: float, steps: int):
    shown = seqmem("train", "windows", "--size", f"enwik8-{size}", "--dry-run")
    assert shown.code == 0, shown.err
    millions = re.findall(r"enwik8-\w+, ([\d,]+) parameters", shown.out)[0].replace(",", "")
    assert float(millions) / 1e6 == pytest.approx(parameters, abs=0.05)
    assert f"training    {steps:,} steps" in shown.out
    stages = re.findall(r"stage .*, (\d+) x ([\d,]+) tokens, learning rate (.*)", shown.out)
    assert [int(batch) for batch, _, _ in stages] == [32, 32, 16, 16, 16]
    assert [int(length.replace(",", "")) for _, length, _ in stages] == [2048, 4096, 8192, 16384, 23040]
    assert [float(rate) for _, _, rate in stages] == [2.5e-4 / 2**stage for stage in range(5)]


@pytest.mark.parametrize("size", ["staged", "enwik8-small", "enwik8-large"])
def test_windows_double_from_stage_to_stage(size: str):
    recipe = load_recipe("windows", size=size)
    first, *others = [stage.model["window"] for stage in recipe.train.stages]
    assert others == [[window * 2**doublings for window in first] for doublings in range(1, len(others) + 1)]
    rates = [stage.lr for stage in recipe.train.stages]
    assert rates == pytest.approx([rates[0] / 2**stage for stage in range(len(rates))])


def test_the_published_windows_are_those_of_the_model_at_first():
    for size in ("enwik8-small", "enwik8-large"):
        recipe = load_recipe("windows", size=size)
        assert stages_of(recipe)[0].config.windows == model_config(f"longformer-lm/{size}").windows


def test_what_is_trained_in_stages_is_not_compared(tmp_path: Path):
    shutil.copytree(builtin_recipes()["windows"], tmp_path / "mine")
    file = tmp_path / "mine/compare.toml"
    stages = "train.stages = [{ steps = 9, lr = 2e-3 }]\n"
    file.write_text(file.read_text().replace("[all]\n", f"[all]\n{stages}"))
    with pytest.raises(SeqmemError, match="'transformer-xl' is trained in stages"):
        load_plan(str(tmp_path / "mine"))

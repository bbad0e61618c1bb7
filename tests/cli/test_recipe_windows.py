"""recipes/windows: the stages of its sizes."""

import re
import shutil
from pathlib import Path

import pytest

from seqmem.errors import SeqmemError
from seqmem.models import model_config
from seqmem.recipe import builtin_recipes, load_recipe
from seqmem.report.plan import load_plan
from seqmem.train.stages import stages_of


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

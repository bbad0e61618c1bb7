"""compare.toml: what it may say, and the steps that follow from it."""

from pathlib import Path

import pytest

from seqmem.errors import SeqmemError
from seqmem.report.comparison import Budget
from seqmem.report.plan import load_plan
from seqmem.report.speed import Speed

RECIPE = """
name = "tiny"
description = "for tests"
[tokenizer]
vocab_size = 300
[model]
name = "transformer-xl"
num_layers = 1
d_model = 8
num_heads = 1
head_dim = 8
d_inner = 8
segment_len = 8
mem_len = 8
[train]
steps = 100
batch_size = 2
lr = 1e-3
min_lr = 1e-3
eval_every = 30
"""
COMPARISON = """
title = "Memory"
seeds = [1, 2]
baseline = "xl"
[runs.control]
model.mem_len = 0
"model.d_inner" = 16
[runs.xl]
[runs.slim]
train.batch_size = 1
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "recipe.toml").write_text(RECIPE)
    (tmp_path / "compare.toml").write_text(COMPARISON)
    return tmp_path


def speed(training: float) -> Speed:
    return Speed(num_parameters=1, training=training, generation=1)


def test_entries_are_recipes_with_other_settings(folder: Path):
    plan = load_plan(str(folder))
    assert (plan.title, plan.seeds, plan.baseline, plan.name) == ("Memory", [1, 2], "xl", "tiny")
    assert plan.settings["control"] == {"model.mem_len": 0, "model.d_inner": 16}
    assert plan.recipes["control"].model["mem_len"] == 0
    assert plan.recipes["xl"].model["mem_len"] == 8


def test_an_entry_may_be_another_model_with_keys_of_its_own(folder: Path):
    other = '[runs.other]\nmodel = { name = "lstm", size = "tiny", d_model = 16 }\n'
    (folder / "compare.toml").write_text(COMPARISON + other)
    assert load_plan(str(folder)).recipes["other"].model == {"name": "lstm", "size": "tiny", "d_model": 16}


def test_the_baseline_gives_the_budget(folder: Path):
    budget = load_plan(str(folder)).budget({"xl": speed(80.0)})
    assert budget == Budget(tokens=1600, seconds=20.0)


@pytest.mark.parametrize(
    ("entry", "tokens_a_second", "steps"),
    [
        ("xl", 80.0, 120),  # 1,600 tokens are 100 steps, validated every 30
        (
            "control",
            24.0,
            120,
        ),  # 480 tokens in 20 s, its first validation; a slow entry must reach equal tokens all the same
        ("control", 96.0, 120),  # 1,920 tokens in 20 s: exactly 120 steps
        ("control", 97.0, 150),
        ("slim", 80.0, 210),  # 200 steps of 8 tokens
    ],
)
def test_every_entry_gets_steps_for_both_budgets(folder: Path, entry: str, tokens_a_second: float, steps: int):
    assert load_plan(str(folder)).steps(entry, Budget(1600, 20.0), speed(tokens_a_second)) == steps


@pytest.mark.parametrize(("tokens", "tokens_a_second"), [(1600, 12.1), (242, 80.0)])
def test_an_entry_to_be_read_before_its_first_validation_is_refused(folder: Path, tokens: int, tokens_a_second: float):
    plan = load_plan(str(folder))
    with pytest.raises(SeqmemError, match=r"'control' .* 15\.1 steps, .* step 30; set its train\.eval_every to 15"):
        plan.steps("control", Budget(tokens, 20.0), speed(tokens_a_second))


def test_rounding_costs_no_validation(folder: Path):
    plan = load_plan(str(folder))
    for tokens_a_second in (3.1, 7.3, 11.7, 1234.567):
        budget = Budget(1920, 1920 / tokens_a_second)
        assert plan.steps("xl", budget, speed(tokens_a_second)) == 120


@pytest.mark.parametrize(
    ("before", "after", "error"),
    [
        ("[runs.slim]", '[runs."../slim"]', r"run '\.\./slim' is to name a folder"),
        ("title", "titel = 1\ntitle", r"compare\.toml: unknown key 'titel'; did you mean 'title'\?"),
        ("seeds = [1, 2]", "seeds = []", r"compare\.toml: key 'seeds' = \[\]"),
        ("seeds = [1, 2]", "seeds = [1, 1]", r"seeds \[1, 1\]: one is named twice"),
        ('baseline = "xl"', 'baseline = "lx"', r"baseline 'lx' is not among \[runs\]; did you mean 'xl'\?"),
        ("title", "= title", r"compare\.toml: not a comparison"),
        ("model.mem_len = 0", "model.mem = 0", r"\[runs\.control\]: .*unknown key 'mem'"),
        ("train.batch_size", "train.batch", r"\[runs\.slim\]: .*unknown key 'train\.batch'"),
        ("train.batch_size = 1", "train.steps = 1", r"\[runs\.slim\]: train\.steps is the same for all"),
        ("train.batch_size = 1", "train.min_lr = 0", r"\[runs\.slim\]: .* set train\.min_lr = 0\.001"),
        ("train.batch_size = 1", "eval.batch_size = 5", r"'control' and 'slim' differ in eval\.batch_size"),
    ],
)
def test_what_is_wrong_is_named_in_a_line(folder: Path, before: str, after: str, error: str):
    (folder / "compare.toml").write_text(COMPARISON.replace(before, after))
    with pytest.raises(SeqmemError, match=error) as caught:
        load_plan(str(folder))
    assert "\n" not in str(caught.value)


def test_a_recipe_without_a_comparison_is_refused(folder: Path):
    (folder / "compare.toml").unlink()
    with pytest.raises(SeqmemError, match=r"has no compare\.toml beside it"):
        load_plan(str(folder))


def test_settings_of_all_come_before_an_entrys_own(folder: Path):
    (folder / "compare.toml").write_text(
        COMPARISON.replace("[runs.control]", "[all]\ntrain.steps = 60\ntrain.batch_size = 4\n[runs.control]")
    )
    plan = load_plan(str(folder))
    assert plan.settings["slim"] == {"train.steps": 60, "train.batch_size": 1}
    assert [plan.recipes[name].train.batch_size for name in ("control", "xl", "slim")] == [4, 4, 1]
    assert plan.budget({"xl": speed(100.0)}) == Budget(60 * 4 * 8, 60 * 4 * 8 / 100.0)

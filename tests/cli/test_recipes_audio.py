"""The audio recipes that come with the installation: sized without data, matched, and clear about what they lack."""

from pathlib import Path

import pytest

from seqmem.cli.size import num_parameters
from seqmem.models import MODELS, model_config
from seqmem.recipe import builtin_recipes, load_recipe
from seqmem.report.plan import load_plan

AUDIO = ["audio", "audio-sine", "fsdd", "sc09", "youtubemix"]
WITHOUT_DATA = ["fsdd", "sc09", "youtubemix"]


def test_every_audio_recipe_is_known():
    assert sorted(name for name in builtin_recipes() if load_recipe(name).codec) == AUDIO


@pytest.mark.parametrize("name", AUDIO)
def test_a_recipe_is_sized_without_its_data(seqmem, name: str):
    finished = seqmem("train", f"recipes/{name}", "--dry-run")
    assert (finished.code, finished.err) == (0, "")
    assert all(word in finished.out for word in ("wavenet", "parameters", "tokens"))


@pytest.mark.parametrize("name", WITHOUT_DATA)
def test_a_recipe_without_data_says_what_to_download_and_how_to_give_it(seqmem, name: str, tmp_path: Path):
    finished = seqmem("train", f"recipes/{name}", "--run", tmp_path / "run")
    assert finished.code != 0
    (line,) = finished.err.strip().splitlines()
    assert load_recipe(name).data.download in line
    assert "--data PATH" in line


@pytest.mark.parametrize("name", AUDIO)
def test_each_has_a_readme_with_its_command(name: str):
    text = (builtin_recipes()[name] / "README.md").read_text(encoding="utf-8")
    assert f"seqmem train recipes/{name}" in text


def test_compared_models_have_as_many_parameters_within_two_percent():
    plan = load_plan("recipes/audio")
    counts = {}
    for entry, recipe in plan.recipes.items():
        assert recipe.codec
        config = model_config(recipe.model_name, **recipe.model_overrides, vocab_size=recipe.codec.vocab_size)
        counts[entry] = num_parameters(MODELS, config)
    assert {recipe.model["name"] for recipe in plan.recipes.values()} == {"wavenet", "transformer-xl", "compressive"}
    assert len(plan.seeds) == 3
    assert max(counts.values()) <= 1.02 * counts[plan.baseline]
    assert min(counts.values()) >= 0.98 * counts[plan.baseline]

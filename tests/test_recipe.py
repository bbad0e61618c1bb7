"""Recipes: where they are found, how values are replaced, what is said when something is wrong."""

import json
from pathlib import Path

import pytest

from seqmem.errors import SeqmemError
from seqmem.recipe import builtin_recipes, find_recipe, load_recipe, parse_value

MINIMAL = 'name = "mine"\ndescription = "x"\n[model]\nname = "lstm"\n'


@pytest.mark.parametrize("name", ["pg19", "recipes/pg19", "recipes/pg19/"])
def test_builtin_names_work_from_any_folder(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    assert load_recipe(name).name == "pg19"


@pytest.mark.parametrize("name", ["pg19", "pg19/recipe.toml"])
def test_a_path_wins_over_a_builtin_name(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "pg19").mkdir()
    (tmp_path / "pg19/recipe.toml").write_text(MINIMAL)
    monkeypatch.chdir(tmp_path)
    assert load_recipe(name).name == "mine"


def test_a_folder_without_a_recipe_does_not_hide_a_builtin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "pg19").mkdir()
    monkeypatch.chdir(tmp_path)
    assert find_recipe("pg19").parent == builtin_recipes()["pg19"]


def test_every_builtin_recipe_is_valid_and_called_as_its_folder():
    for name, folder in builtin_recipes().items():
        assert load_recipe(str(folder)).name == name


def test_a_dumped_recipe_is_the_same_recipe(tmp_path: Path):
    recipe = load_recipe("pg19", {"eval.mem_len": 7, "generate.prompt": 'quote " and\nline'})
    (tmp_path / "saved.json").write_text(recipe.model_dump_json())
    assert load_recipe(str(tmp_path / "saved.json")) == recipe


def test_settings_replace_values():
    recipe = load_recipe("pg19", {"train.lr": 0.5, "model.num_layers": 3, "name": "other"})
    assert (recipe.train.lr, recipe.model["num_layers"], recipe.name) == (0.5, 3, "other")


def test_another_model_and_its_size_replace_the_recipes_model():
    size = {"model.name": "sha-rnn", "model.size": "tiny"}
    assert load_recipe("pg19", {"model.num_layers": 3} | size).model == {
        "name": "sha-rnn",
        "size": "tiny",
        "num_layers": 3,
    }
    assert load_recipe("pg19", {"model.name": "compressive"}).model["mem_len"] == 32
    same = load_recipe("pg19", {"model.name": "transformer-xl", "model.size": "tiny"}).model
    assert (same["size"], same["mem_len"]) == ("tiny", 32)


def test_a_data_folder_is_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    assert load_recipe("pg19", {"data.path": "books"}).data.path == tmp_path / "books"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3),
        ("1e-3", 1e-3),
        ("true", True),
        ("[1, 2]", [1, 2]),
        ('"3"', "3"),
        ("bare words", "bare words"),
        ("bpe", "bpe"),
        ("", ""),
        ("1, 2", "1, 2"),
        ("5 # five", "5 # five"),
        ("5\nvalues = 6", "5\nvalues = 6"),
    ],
)
def test_values_are_toml_or_text(text: str, value: object):
    assert parse_value(text) == value


def test_a_prompt_may_look_like_a_number():
    assert load_recipe("pg19", {"generate.prompt": parse_value("1984")}).generate.prompt == "1984"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"train.lrr": 1}, "recipe 'pg19': unknown key 'train.lrr'; did you mean 'lr'?"),
        ({"trian.lr": 1}, "recipe 'pg19': unknown key 'trian'; did you mean 'train'?"),
        ({"train.lr": "fast"}, "recipe 'pg19': key 'train.lr' = 'fast': input should be a valid number"),
        ({"train.lr": float("nan")}, "recipe 'pg19': key 'train.lr' = nan: input should be a finite number"),
        ({"train.steps": 0}, "recipe 'pg19': key 'train.steps' = 0: input should be greater than 0"),
        ({"name.first": 1}, "setting 'name.first': 'name' is a value, not a section"),
        ({"model.vocab_size": 9}, "recipe 'pg19': key 'model' ="),
        ({"model": {}}, "recipe 'pg19': key 'model' = {}: needs the name of a model"),
    ],
)
def test_a_wrong_setting_is_one_helpful_line(settings: dict, message: str):
    with pytest.raises(SeqmemError) as caught:
        load_recipe("pg19", settings)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"name = ", "not a recipe: Invalid value"),
        (b"\xff", "not a recipe: 'utf-8' codec"),
        (b'name = "a"\ndescription = "x"\n', "key 'model' is missing; give it a value"),
    ],
)
def test_a_broken_file_is_one_helpful_line(content: bytes, message: str, tmp_path: Path):
    (tmp_path / "recipe.toml").write_bytes(content)
    with pytest.raises(SeqmemError, match=message):
        load_recipe(str(tmp_path))


def test_json_that_is_no_object_is_refused(tmp_path: Path):
    (tmp_path / "config.json").write_text(json.dumps([1]))
    with pytest.raises(SeqmemError, match="not a recipe"):
        load_recipe(str(tmp_path / "config.json"))


def test_an_unknown_recipe_names_the_nearest():
    with pytest.raises(SeqmemError, match="built-in recipe 'recipes/pg20'; did you mean 'pg19'"):
        load_recipe("recipes/pg20")

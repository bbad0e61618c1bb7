"""Recipes: where they are found, how values are replaced, what is said when something is wrong."""

import json
from pathlib import Path

import pytest

from seqmem.errors import SeqmemError
from seqmem.recipe import builtin_recipes, dotted, find_recipe, load_recipe, parse_value, recipe_sizes

MINIMAL = 'name = "mine"\ndescription = "x"\n[model]\nname = "lstm"\n'
SIZED = """
name = "sized"
description = "x"
[model]
name = "lstm"
num_layers = 3
[train]
lr = 0.1
batch_size = 7
[sizes.same]
[sizes.larger]
tokenizer.vocab_size = 9000
[sizes.larger.model]
num_layers = 4
mem_len = { long = 64, short = 8, layers = "last-1" }
[sizes.larger.train]
lr = 0.2
[sizes.other.model]
name = "sha-rnn"
size = "tiny"
"""


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


def test_every_builtin_recipe_is_valid_in_every_size_and_called_as_its_folder():
    for name, folder in builtin_recipes().items():
        for size in (None, *recipe_sizes(str(folder))):
            assert load_recipe(str(folder), size=size).name == name


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


@pytest.fixture
def sized(tmp_path: Path) -> str:
    """A recipe in three sizes."""
    (tmp_path / "recipe.toml").write_text(SIZED)
    return str(tmp_path)


def test_a_size_replaces_values_and_settings_replace_its_own(sized: str):
    assert recipe_sizes(sized) == ["same", "larger", "other"]
    assert load_recipe(sized, size="same") == load_recipe(sized)
    larger = load_recipe(sized, {"train.lr": 0.3}, "larger")
    assert (larger.train.lr, larger.train.batch_size, larger.tokenizer.vocab_size) == (0.3, 7, 9000)
    memory = {"long": 64, "short": 8, "layers": "last-1"}
    assert larger.model == {"name": "lstm", "num_layers": 4, "mem_len": memory}


def test_another_model_in_a_size_replaces_the_recipes_and_one_in_settings_both(sized: str):
    assert load_recipe(sized, size="other").model == {"name": "sha-rnn", "size": "tiny"}
    wanted = {"model.name": "wavenet", "model.size": "tiny", "model.segment_len": 8}
    assert load_recipe(sized, wanted, "larger").model == {"name": "wavenet", "size": "tiny", "segment_len": 8}


def test_a_resolved_recipe_has_no_sizes(sized: str, tmp_path: Path):
    larger = load_recipe(sized, size="larger")
    (tmp_path / "config.json").write_text(larger.model_dump_json())
    assert "sizes" not in larger.model_dump()
    assert load_recipe(str(tmp_path / "config.json")) == larger
    assert recipe_sizes(str(tmp_path / "config.json")) == []
    with pytest.raises(SeqmemError, match=r"config\.json' has no size 'larger'; leave it out$"):
        load_recipe(str(tmp_path / "config.json"), size="larger")


@pytest.mark.parametrize(
    ("text", "size", "message"),
    [
        ("", "largre", "has no size 'largre'; did you mean 'larger'?"),
        ("", "x", "has no size 'x'; known: larger, other, same"),
        ("[sizes.new.train]\nlrr = 1", "new", ", size 'new': unknown key 'train.lrr'; did you mean 'lr'?"),
        ("[sizes.new.trian]\nlr = 1", "new", ", size 'new': unknown key 'trian'; did you mean 'train'?"),
        ("[sizes.new.train]\nlr = 'x'", "new", ", size 'new': key 'train.lr' = 'x': input should be a valid number"),
        ("[sizes]\nnew = 3", None, ": key 'sizes.new' = 3: input should be a valid dictionary"),
    ],
)
def test_a_wrong_size_is_one_helpful_line(text: str, size: str | None, message: str, tmp_path: Path):
    (tmp_path / "recipe.toml").write_text(SIZED + text)
    with pytest.raises(SeqmemError) as caught:
        load_recipe(str(tmp_path), size=size)
    assert str(caught.value).startswith(f"recipe '{tmp_path}'")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_dotted_takes_both_ways_of_writing():
    assert dotted({"a": {"b": 1, "c": {"d": [2]}}, "e.f": 3}) == {"a.b": 1, "a.c": {"d": [2]}, "e.f": 3}


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

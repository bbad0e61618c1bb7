"""``seqmem recipes``."""

from pathlib import Path

from seqmem.recipe import builtin_recipe, load_recipe


def test_list_names_every_recipe(seqmem):
    listed = seqmem("recipes", "list")
    assert listed.code == 0
    assert "pg19" in listed.out
    assert load_recipe("pg19").description.split(":")[0] in listed.out
    assert "cpu, gpu" in listed.out


def test_show_prints_the_file(seqmem):
    assert seqmem("recipes", "show", "recipes/pg19").out == (builtin_recipe("pg19") / "recipe.toml").read_text()


def test_a_copy_can_be_trained_and_is_never_overwritten(seqmem, tmp_path: Path):
    destination = tmp_path / "mine"
    assert seqmem("recipes", "copy", "pg19", destination).out == f"Now: seqmem train {destination}\n"
    assert load_recipe(str(destination)) == load_recipe("pg19")
    again = seqmem("recipes", "copy", "pg19", destination)
    assert (again.code, again.err) == (1, f"error: '{destination}' exists; name a folder that does not\n")

"""The recipes of encoders: known, sized without data, trained, measured and drawn; they write nothing."""

import pytest

from seqmem.recipe import builtin_recipes, load_recipe
from seqmem.train.objective import objective_of

ENCODERS = ["long-documents", "mlm"]
TINY = ["--model.num_layers=1", "--model.d_model=8", "--model.num_heads=1", "--model.d_inner=8", "--train.batch_size=2"]


def test_every_encoder_recipe_is_known():
    assert sorted(name for name in builtin_recipes() if load_recipe(name).is_encoder) == ENCODERS


@pytest.mark.parametrize("name", ENCODERS)
def test_a_recipe_is_sized_without_data_and_global_tokens(seqmem, name: str):
    finished = seqmem("train", f"recipes/{name}", "--dry-run")
    assert (finished.code, finished.err) == (0, "")
    assert all(word in finished.out for word in ("longformer", "parameters", "texts x", "MB of tensors"))


@pytest.mark.parametrize("name", ENCODERS)
def test_each_has_a_readme_with_its_command(name: str):
    text = (builtin_recipes()[name] / "README.md").read_text(encoding="utf-8")
    assert f"seqmem train recipes/{name}" in text


def test_a_size_of_one_begins_with_the_other():
    masked, task = load_recipe("mlm"), load_recipe("long-documents", size="from-mlm")
    assert objective_of(masked).model_config(masked) == objective_of(task).model_config(task)
    assert masked.tokenizer == task.tokenizer


@pytest.mark.parametrize("name", ENCODERS)
def test_a_run_is_trained_measured_and_drawn_and_writes_nothing(seqmem, name: str, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = [f"{a}{b}{c}" for a in "bcdfghklmnprst" for b in "aeiou" for c in "nrst"]
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts/a.txt").write_text("".join(f"And {word} was {word[::-1]}.\n" for word in words * 20))
    vocabulary = ["--tokenizer.vocab_size=300", "--model.max_len=400"]
    lengths = ["--task.lengths=[390,400]"] if name == "long-documents" else []
    once = ["--data", "texts", "--train.steps=1", "--train.warmup_steps=1", "--eval.batch_size=200"]
    trained = seqmem("train", f"recipes/{name}", "--run", "run", *TINY, *vocabulary, *lengths, *once)
    assert (trained.code, trained.err) == (0, "")
    assert "seqmem eval run" in trained.out
    assert seqmem("eval", "run").code == 0
    drawn = seqmem("plot", "run")
    assert (drawn.code, drawn.err) == (0, "")
    for verb in ("generate", "check"):
        finished = seqmem(verb, "run")
        assert finished.code == 1
        assert finished.err.startswith("error: run 'run' trained an encoder, which reads whole texts")
        assert len(finished.err.splitlines()) == 1
    compared = seqmem("compare", "run")
    assert compared.code == 1
    assert "is an encoder, which cannot generate; compare causal models" in compared.err


@pytest.mark.parametrize("name", ENCODERS)
def test_linformer_stands_in_as_wide_and_as_deep(name: str):
    own, other = (load_recipe(name, size=size) for size in (None, "linformer"))
    first, second = (objective_of(recipe).model_config(recipe).model_dump() for recipe in (own, other))
    same = ("max_len", "num_layers", "d_model", "num_heads", "d_inner", "dropout", "init_std", "vocab_size")
    assert [first[key] for key in same] == [second[key] for key in same]
    assert (other.model["name"], other.train) == ("linformer", own.train)

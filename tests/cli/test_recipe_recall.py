"""recipes/recall: sized without data, trained with any causal model, measured, drawn, generated from and checked."""

import pytest

from seqmem.recipe import builtin_recipes

TRAINED = ["--recall.lengths=[32,64]", "--recall.keys=4", "--recall.eval_lengths=[64]", "--train.batch_size=2"]
ONCE = ["--train.steps=1", "--train.warmup_steps=1"]


def test_it_is_sized_without_data(seqmem):
    finished = seqmem("train", "recipes/recall", "--dry-run")
    assert (finished.code, finished.err) == (0, "")
    assert all(word in finished.out for word in ("titans-lmm", "parameters", "sequences x", "MB of tensors"))


def test_it_has_a_readme_with_its_command():
    assert "seqmem train recipes/recall" in (builtin_recipes()["recall"] / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("model", ["titans-lmm", "longformer-lm", "compressive"])
def test_a_run_of_any_causal_model_is_measured_and_drawn(seqmem, model: str, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    named = [f"--model.name={model}", "--model.size=tiny"] if model != "titans-lmm" else ["--model.d_model=16"]
    trained = seqmem("train", "recipes/recall", "--run", "run", *named, *TRAINED, *ONCE)
    assert (trained.code, trained.err) == (0, "")
    assert "seqmem eval run" in trained.out
    measured = seqmem("eval", "run", "--lengths", "70,100", "--samples", "1")
    assert (measured.code, measured.err) == (0, "")
    assert "100 bytes" in measured.out
    assert "by chance" in measured.out
    drawn = seqmem("plot", "run")
    assert (drawn.code, drawn.err) == (0, "")
    assert "recall.png" in drawn.out
    assert seqmem("check", "run", "--tokens", "100").code == 0
    assert seqmem("generate", "run", "--tokens", "5").code == 0
    compared = seqmem("compare", "run")
    assert compared.code == 1
    assert "'run' answers questions, which the protocol does not count; use seqmem plot" in compared.err


def test_lengths_that_are_none_are_refused(seqmem):
    finished = seqmem("eval", "run", "--lengths", "1k")
    assert finished.code == 2
    assert "'1k' is neither a number, as 1024, nor several, as 1024,16384." in finished.err

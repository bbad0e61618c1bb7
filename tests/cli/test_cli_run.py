"""From a folder of text to a run and back: train, go on, measure, generate, check."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from seqmem.cli.eval import MemoryLength
from seqmem.config import Recipe
from seqmem.data.corpus import Corpus
from seqmem.data.sources.source import Text
from seqmem.data.store.build import tokenized
from seqmem.models import MODELS
from seqmem.recipe import builtin_recipes
from seqmem.train import checkpoint

TINY = """
name = "tiny"
description = "a run of a second"
[tokenizer]
kind = "bpe"
vocab_size = 300
[model]
name = "lstm"
num_layers = 1
d_model = 8
segment_len = 16
[train]
steps = 4
batch_size = 2
warmup_steps = 1
log_every = 1
eval_every = 4
checkpoint_every = 2
num_threads = 1
[generate]
tokens = 8
[sizes.wide.model]
d_model = 12
"""


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a recipe, ``tiny.toml``, and a text in ``books``."""
    folder = tmp_path_factory.mktemp("workplace")
    (folder / "tiny.toml").write_text(TINY)
    (folder / "books").mkdir()
    verses = (
        f"And the {number}th line tells of {number * number} ships and {number % 7} kings." for number in range(600)
    )
    (folder / "books/one.txt").write_text("\n".join(verses))
    return folder


@pytest.fixture
def train(seqmem, workplace: Path, monkeypatch: pytest.MonkeyPatch) -> Callable:
    monkeypatch.chdir(workplace)
    return lambda *arguments: seqmem("train", *arguments, "--data", "books")


@pytest.fixture
def run(train: Callable, workplace: Path) -> Path:
    """A finished run, trained by the first test that wants it."""
    folder = workplace / "finished"
    if not (folder / "checkpoints").exists():
        finished = train("tiny.toml", "--run", folder)
        assert finished.code == 0, finished.err
    return folder


def steps(run: Path) -> list[int]:
    records = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    return [record["step"] for record in records if "loss" in record]


def test_a_run_goes_on_in_its_size_and_in_no_other(train: Callable, seqmem, workplace: Path):
    named = ("tiny.toml", "--run", "sized", "--train.steps")
    assert train(*named, 2, "--size", "wide").code == 0
    config = json.loads((workplace / "sized/config.json").read_text())
    assert config["model"]["d_model"] == 12
    assert "sizes" not in config
    refused = train(*named, 3)
    assert (refused.code, refused.err.count("\n")) == (1, 1)
    assert "begun with another model" in refused.err
    assert train(*named, 3, "--size", "wide").code == 0
    assert seqmem("train", "--resume", "sized", "--train.steps", 4).code == 0
    assert steps(workplace / "sized") == [1, 2, 3, 4]


def test_a_run_leaves_what_it_promises(run: Path):
    assert Recipe.model_validate_json((run / "config.json").read_text()).name == "tiny"
    assert steps(run) == [1, 2, 3, 4]


def test_an_unnamed_run_goes_to_runs_and_goes_on_there(train: Callable, workplace: Path):
    assert train("tiny.toml", "--train.steps", 2).code == 0
    (folder,) = (workplace / "runs/tiny").iterdir()
    assert train("tiny.toml", "--resume", "--train.steps", 3).code == 0
    assert list((workplace / "runs/tiny").iterdir()) == [folder]
    assert steps(folder) == [1, 2, 3]


def test_a_named_run_goes_on_by_itself_but_not_when_told_never(train: Callable, workplace: Path):
    assert train("tiny.toml", "--run", "named", "--train.steps", 2).code == 0
    refused = train("tiny.toml", "--run", "named", "--resume", "never")
    assert (refused.code, refused.err.count("\n")) == (1, 1)
    assert train("tiny.toml", "--run", "named", "--train.steps", 3).code == 0
    assert steps(workplace / "named") == [1, 2, 3]


def test_resuming_a_run_needs_no_recipe(train: Callable, seqmem, workplace: Path):
    assert train("tiny.toml", "--run", "bare", "--train.steps", 2, "--model.d_model", 12).code == 0
    resumed = seqmem("train", "--resume", "bare", "--train.steps", 3)
    assert resumed.code == 0, resumed.err
    assert steps(workplace / "bare") == [1, 2, 3]


def test_resuming_what_is_no_run_is_a_users_error(train: Callable):
    refused = train("--resume", "nowhere")
    assert (refused.code, refused.err.count("\n")) == (1, 1)
    assert "nowhere" in refused.err


def test_an_interrupted_run_saves_and_exits_with_0(workplace: Path):
    command = [sys.executable, "-m", "seqmem", "train", "tiny.toml", "--data", "books", "--run", "stopped"]
    command += ["--train.steps", "1000000"]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    process = subprocess.Popen(command, cwd=workplace, env=environment, stdout=subprocess.PIPE, text=True)
    run = workplace / "stopped"
    while not (run / "metrics.jsonl").exists() or not steps(run):
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "--resume" in out
    saved = max((run / "checkpoints").iterdir()).name
    assert saved == f"step-{steps(run)[-1]:08d}"


def test_eval_states_its_protocol_and_writes_it(seqmem, run: Path):
    shown = seqmem("eval", run, "--split", "test", "--segment-len", 8)
    assert shown.code == 0, shown.err
    assert all(measure in shown.out for measure in ("nats/token", "bits/byte", "word-level perplexity"))
    assert json.loads((run / "eval.json").read_text())["segment_len"] == 8
    assert "from document to document" in shown.out


def test_eval_empties_memory_and_tells_where_nats_come_from_on_demand(seqmem, run: Path):
    plain, shown = (seqmem("eval", run, "--memory", "reset", *more) for more in ((), ("--tables",)))
    assert (plain.code, shown.code) == (0, 0), shown.err
    assert "reset at a document's end" in plain.out
    assert shown.out.startswith(plain.out)
    for heading in ("tokens of the document before it, nats/token", "times its word is in the training text"):
        assert heading not in plain.out
        assert heading in shown.out
    written = json.loads((run / "eval.json").read_text())
    assert written["at_document_end"] == "reset"
    assert written["by_position"][0]["of"] == "0"
    assert written["word_perplexity_divides_by"] == {"number": written["num_words"], "of": "whitespace words"}


def test_a_memory_length_is_one_number_or_one_a_layer():
    convert = MemoryLength().convert
    assert convert("128", None, None) == 128
    assert convert("16,0,128", None, None) == (16, 0, 128)


@pytest.mark.parametrize("length", ["-1", "16,", "16,x", "1.5"])
def test_eval_refuses_what_is_no_memory_length(seqmem, run: Path, length: str):
    refused = seqmem("eval", run, "--mem-len", length)
    assert refused.code == 2
    assert f"'{length}' is neither a number, as 128, nor one a layer, as 16,16,128." in refused.err


@pytest.mark.parametrize(("option", "key"), [("--mem-len", "mem_len"), ("--cmem-len", "cmem_len")])
@pytest.mark.parametrize("length", ["16", "16,0"])
def test_eval_names_the_length_that_the_model_lacks(seqmem, run: Path, option: str, key: str, length: str):
    refused = seqmem("eval", run, option, length)
    assert (refused.code, refused.err) == (1, f"error: eval.{key}: this model has no {key}; leave it out\n")


def test_generate_goes_on_from_the_prompt_and_repeats_itself(seqmem, run: Path):
    command = ("generate", run, "--prompt", "And the", "--tokens", 12, "--seed", 3)
    first, second = seqmem(*command), seqmem(*command)
    assert first.code == 0, first.err
    assert first.out.startswith("And the")
    assert first.out == second.out
    assert seqmem(*command[:-1], 4).out != first.out


def test_check_passes_on_a_lawful_model(seqmem, run: Path):
    checked = seqmem("check", run, "--tokens", 40)
    assert checked.code == 0, checked.out + checked.err
    assert "40 tokens of validation text, 2.5 turnovers of memory, float64" in checked.out


def test_check_reads_on_where_the_first_document_ends(seqmem, run: Path, monkeypatch: pytest.MonkeyPatch):
    documents = [Text(str(number), f"ship {number}") for number in range(30)]
    splits = {"train": documents, "validation": documents, "test": []}
    ships = tokenized(Corpus("ships", "here", "1", lambda: (splits, "Ships.")), checkpoint.load_tokenizer(run))
    monkeypatch.setattr(checkpoint, "load_tokens", lambda run: ships)
    checked = seqmem("check", run)
    assert checked.code == 0, checked.out + checked.err
    assert "48 tokens of validation text, 3.0 turnovers of memory, float64" in checked.out


def test_check_exits_with_1_where_a_law_is_broken(seqmem, run: Path, monkeypatch: pytest.MonkeyPatch):
    from seqmem.testing import state_law

    broken = [state_law.LawResult("chunked", 0.5, False)]
    monkeypatch.setattr(state_law, "check_state_law", lambda model, tokens: broken)
    checked = seqmem("check", run)
    assert checked.code == 1
    assert "DIFFERENT" in checked.out


@pytest.mark.parametrize("verb", ["eval", "generate", "check"])
def test_a_run_that_is_none_is_a_users_error(seqmem, verb: str, tmp_path: Path):
    refused = seqmem(verb, tmp_path)
    assert (refused.code, refused.out, refused.err.count("\n")) == (1, "", 1)


def test_print_config_can_be_saved_and_trained(seqmem, workplace: Path, tmp_path: Path):
    printed = seqmem("train", workplace / "tiny.toml", "--train.lr", 0.5, "--print-config")
    (tmp_path / "saved.json").write_text(printed.out)
    again = seqmem("train", tmp_path / "saved.json", "--print-config")
    assert again.out == printed.out
    assert json.loads(again.out)["train"]["lr"] == 0.5


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("model.d_modle=8", "did you mean 'd_model'?"),
        ("model.name=lsmt", "did you mean 'lstm'?"),
        ("backend=pytroch", "did you mean 'pytorch'?"),
    ],
)
def test_a_wrong_model_or_backend_is_one_line(train: Callable, setting: str, message: str):
    refused = train("tiny.toml", "--dry-run", setting)
    assert (refused.code, refused.err.count("\n")) == (1, 1)
    assert message in refused.err


def test_dry_run_counts_without_a_run(seqmem, workplace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    shown = seqmem("train", workplace / "tiny.toml", "--dry-run")
    assert shown.code == 0, shown.err
    assert "32 tokens: 2 streams x 16" in shown.out
    assert "4 steps, 128 tokens" in shown.out
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("recipe", builtin_recipes())
def test_every_builtin_recipe_can_be_counted(seqmem, recipe: str):
    shown = seqmem("train", recipe, "--dry-run")
    assert shown.code == 0, shown.err
    assert "carried memory" in shown.out


@pytest.mark.parametrize("name", MODELS)
def test_every_model_can_be_counted(seqmem, name: str):
    shown = seqmem("train", "windows", "--dry-run", "--model.name", name, "--model.size", "tiny")
    assert shown.code == 0, shown.err
    assert f"{name}/tiny, " in shown.out


def test_the_largest_size_is_counted_without_its_memory(seqmem):
    shown = seqmem("train", "pg19", "--size", "gpu", "--dry-run")
    assert shown.code == 0, shown.err
    assert "transformer-xl, 196,492,544 parameters" in shown.out
    assert "65,536 tokens: 64 streams x 1024" in shown.out

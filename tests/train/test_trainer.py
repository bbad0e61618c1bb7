"""A run from beginning to end: what it prints, what it leaves, how it stops."""

import contextlib
import io
import json
import os
import re
import signal

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file

import seqmem
from seqmem.config import Recipe
from seqmem.errors import SeqmemError
from seqmem.layers.admin import profile
from seqmem.train import session
from seqmem.train.checkpoint import find_checkpoint, load, load_recipe_of, load_tokenizer
from seqmem.train.session import Session
from seqmem.train.trainer import train

LSTM = {"name": "lstm", "num_layers": 2, "d_model": 16, "dropout": 0.2, "segment_len": 8}
TIME_FIELDS = {"seconds", "tokens_per_second", "memory_mb"}


class Crash(Exception):
    """Stands for the end of the process: nothing of the loop runs after it."""


def with_train(recipe: Recipe, **values) -> Recipe:
    return recipe.model_copy(update={"train": recipe.train.model_copy(update=values)})


def at_step(monkeypatch, number: int, action) -> None:
    """Have ``action`` happen in the middle of step ``number``, once."""
    original = Session.step

    def step(self: Session) -> dict[str, float]:
        if self.counters.step + 1 == number:
            monkeypatch.setattr(Session, "step", original)
            action()
        return original(self)

    monkeypatch.setattr(Session, "step", step)


def crash() -> None:
    raise Crash


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def metrics(run) -> list[dict]:
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in record.items() if key not in TIME_FIELDS} for record in records]


def final_state(run) -> tuple:
    """Everything a finished run consists of, bit for bit, time fields apart."""
    checkpoint = find_checkpoint(run)
    counters = json.loads((checkpoint / "trainer.json").read_text())
    del counters["seconds"], counters["recent_seconds"]
    tensors = [(checkpoint / name).read_bytes() for name in ("model.safetensors", "trainer.safetensors")]
    return checkpoint.name, counters, tensors, metrics(run), (run / "sample.txt").read_bytes()


@pytest.fixture
def sessions(monkeypatch) -> list[Session]:
    """The sessions that training starts."""
    started: list[Session] = []
    original = Session.__init__

    def init(self: Session, *args) -> None:
        original(self, *args)
        started.append(self)

    monkeypatch.setattr(Session, "__init__", init)
    return started


@pytest.fixture
def whole(recipe, tmp_path, console):
    """The uninterrupted run."""
    return train(recipe, tmp_path / "whole", console=console)


def test_run_leaves_its_files_and_says_what_it_did(whole, recipe, console):
    printed = console.file.getvalue()
    assert "3 files; 3 documents, each cut 90/5/5" in printed
    assert load_tokenizer(whole).hash in printed
    assert f"{sum(p.numel() for p in load(whole).parameters()):,} parameters" in printed
    assert "cpu, 1 thread\n" in printed
    assert "step 12/12  loss" in printed
    assert (whole / "sample.txt").read_text() in printed
    assert f"seqmem generate {whole}" in printed
    assert f"seqmem eval {whole}" in printed
    assert sorted(path.name for path in (whole / "checkpoints").iterdir()) == ["step-00000008", "step-00000012"]
    assert Recipe.model_validate_json((whole / "config.json").read_text()) == recipe == load_recipe_of(whole)
    assert (whole / "sample.txt").read_text().startswith("the")


def test_terminal_shows_a_bar_and_the_status_beside_it(recipe, tmp_path):
    file = io.StringIO()
    console = Console(file=file, width=200, force_terminal=True, color_system=None)
    train(recipe, tmp_path / "run", console=console)
    printed = file.getvalue()
    assert re.search(r"━ 12/12 loss \d\.\d{3}  \d\.\d{3} bits/byte  grad norm", printed)
    assert "step 12/12" not in printed
    assert "step 6  validation" in printed


def test_metrics_have_a_record_a_logged_step_and_evaluation(whole):
    records = [json.loads(line) for line in (whole / "metrics.jsonl").read_text().splitlines()]
    logged = [record for record in records if "loss" in record]
    assert [record["step"] for record in logged] == [3, 6, 9, 12]
    assert [record["step"] for record in records if "validation_bits_per_byte" in record] == [6, 12]
    assert logged[0].keys() == {"step", "loss", "bits_per_byte", "grad_norm", "lr"} | TIME_FIELDS
    assert logged[0]["lr"] == pytest.approx(1e-2)
    assert logged[-1]["loss"] < logged[0]["loss"]


def test_same_recipe_gives_the_same_run(whole, recipe, tmp_path, console):
    assert final_state(train(recipe, tmp_path / "again", console=console)) == final_state(whole)


def test_dropout_takes_part(whole, recipe, tmp_path, console):
    without = recipe.model_copy(update={"model": {**recipe.model, "dropout": 0.0}})
    assert metrics(train(without, tmp_path / "without", console=console)) != metrics(whole)


@pytest.mark.parametrize("number", [2, 5, 8, 9, 12])
def test_crashed_run_resumes_bit_for_bit(whole, recipe, tmp_path, console, monkeypatch, number):
    run = tmp_path / "crashed"
    at_step(monkeypatch, number, crash)
    with pytest.raises(Crash):
        train(recipe, run, console=console)
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"step": ')
    assert final_state(train(recipe, run, console=console)) == final_state(whole)


@pytest.mark.parametrize("number", [1, 5, 6, 8])
def test_interrupted_run_saves_and_resumes_bit_for_bit(whole, recipe, tmp_path, console, monkeypatch, number):
    run = tmp_path / "interrupted"
    at_step(monkeypatch, number, interrupt)
    handler = signal.getsignal(signal.SIGINT)
    train(recipe, run, console=console)
    assert signal.getsignal(signal.SIGINT) is handler
    assert find_checkpoint(run).name == f"step-{number:08d}"
    assert f"seqmem train --resume {run}" in console.file.getvalue()
    assert not (run / "sample.txt").exists()
    torch.manual_seed(12345)
    assert final_state(train(recipe, run, console=console)) == final_state(whole)


@pytest.mark.parametrize(("model", "precision"), [(LSTM, "float32"), (LSTM, "bfloat16"), ({}, "bfloat16")])
def test_other_kinds_of_state_resume_bit_for_bit(recipe, tmp_path, console, monkeypatch, model, precision):
    other = with_train(recipe.model_copy(update={"model": model or recipe.model}), precision=precision)
    whole = train(other, tmp_path / "whole", console=console)
    at_step(monkeypatch, 5, interrupt)
    train(other, tmp_path / "interrupted", console=console)
    assert final_state(train(other, tmp_path / "interrupted", console=console)) == final_state(whole)


def test_admin_is_set_by_the_first_batch_and_never_again(recipe, tmp_path, console, monkeypatch):
    profiled = []
    monkeypatch.setattr(session, "profile", lambda *args: profiled.append(args) or profile(*args))
    deep = recipe.model_copy(update={"model": {**recipe.model, "num_layers": 3, "admin": True}})
    whole = train(deep, tmp_path / "whole", console=console)
    assert len(profiled) == 1
    omegas = [tensor for name, tensor in load(whole).state_dict().items() if "_shortcut" in name]
    assert len(omegas) == 5
    assert not any(torch.allclose(omega, torch.ones(()), atol=0.1) for omega in omegas)
    at_step(monkeypatch, 5, interrupt)
    train(deep, tmp_path / "interrupted", console=console)
    assert final_state(train(deep, tmp_path / "interrupted", console=console)) == final_state(whole)
    assert len(profiled) == 2


@pytest.mark.parametrize(("stop", "number"), [(crash, 7), (crash, 11), (interrupt, 6), (interrupt, 7)])
def test_accumulation_and_auxiliary_losses_resume_bit_for_bit(recipe, tmp_path, console, monkeypatch, stop, number):
    """Weights move at steps 1, 2, 5, 8 and 11, so that gradients wait in the checkpoints of steps 4, 6, 7 and 12."""
    model = {**recipe.model, "name": "compressive", "mem_len": 8, "cmem_len": 6, "compression_rate": 2}
    compressive = recipe.model_copy(update={"model": {**model, "attention_dropout": 0.2}})
    slowing = with_train(compressive, update_every=3, update_every_after=2)
    whole = train(slowing, tmp_path / "whole", console=console)
    waiting = load_file(find_checkpoint(whole) / "trainer.safetensors")
    assert waiting["gradient.compressions.0.conv.weight"].any()
    assert waiting["gradient.u"].any()
    at_step(monkeypatch, number, stop)
    with contextlib.suppress(Crash):
        train(slowing, tmp_path / "stopped", console=console)
    assert not (tmp_path / "stopped/sample.txt").exists()
    assert final_state(train(slowing, tmp_path / "stopped", console=console)) == final_state(whole)


def test_restored_tensors_lie_as_fresh_ones_do(whole, recipe, console, sessions):
    """Matrix products round by the address of their operands, so a view into a file would break the repetition."""
    train(recipe, whole, console=console)
    moments = [tensor for state in sessions[0].optimizer.state.values() for tensor in state.values()]
    assert len(moments) == 3 * len(list(sessions[0].model.parameters()))
    assert all(tensor.data_ptr() % 64 == 0 for tensor in moments)


def test_second_interrupt_stops_at_once(recipe, tmp_path, console, monkeypatch):
    def twice():
        interrupt()
        interrupt()

    at_step(monkeypatch, 2, twice)
    inherited = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    try:
        with pytest.raises(KeyboardInterrupt):
            train(recipe, tmp_path / "run", console=console)
    finally:
        signal.signal(signal.SIGINT, inherited)


def test_evaluation_does_not_touch_training(whole, recipe, tmp_path, console):
    other = recipe.model_copy(update={"eval": recipe.eval.model_copy(update={"mem_len": 3, "segment_len": 5})})
    run = train(with_train(other, eval_every=2), tmp_path / "other", console=console)
    weights = [find_checkpoint(r).joinpath("model.safetensors").read_bytes() for r in (whole, run)]
    assert weights[0] == weights[1]


def test_finished_run_resumes_to_nothing(whole, recipe, console):
    before = final_state(whole)
    train(recipe, whole, console=console)
    assert final_state(whole) == before


def test_run_folder_in_use_is_refused_or_must_be_the_same_recipe(whole, recipe, console):
    with pytest.raises(SeqmemError, match="has checkpoints already"):
        train(recipe, whole, resume=False, console=console)
    with pytest.raises(SeqmemError, match=r"begun with another train\.batch_size"):
        train(with_train(recipe, batch_size=3), whole, console=console)
    with pytest.raises(SeqmemError, match="begun with another model"):
        train(recipe.model_copy(update={"model": {**recipe.model, "d_inner": 8}}), whole, console=console)


def test_resumed_run_does_not_need_the_text_again(recipe, tmp_path, console, monkeypatch):
    at_step(monkeypatch, 6, interrupt)
    run = train(recipe, tmp_path / "run", console=console)
    monkeypatch.setattr("seqmem.train.setup.load_corpus", lambda config: crash())
    train(recipe, run, console=console)


def test_diverged_run_names_step_and_last_good_checkpoint(recipe, tmp_path, console, monkeypatch, sessions):
    def poison():
        with torch.no_grad():
            for parameter in sessions[0].model.parameters():
                parameter.fill_(float("nan"))

    at_step(monkeypatch, 6, poison)
    with pytest.raises(SeqmemError, match=r"step 6: loss nan.*last good checkpoint: .*step-00000004; lower train\.lr"):
        train(recipe, tmp_path / "run", console=console)


def test_public_load_gives_the_trained_model(whole):
    model = seqmem.load(whole)
    assert not model.training
    assert model.config.d_model == 16

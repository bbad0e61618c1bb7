"""Training in bfloat16: what is computed in it, what stays float32, and who must be able to."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from seqmem.cli.size import training_memory
from seqmem.config import Recipe, TrainConfig
from seqmem.models import model_config
from seqmem.ops import BackendUnsupported, Ops, bind
from seqmem.train.checkpoint import find_checkpoint
from seqmem.train.evaluate import evaluate_run
from seqmem.train.setup import new_session
from seqmem.train.trainer import train


@pytest.fixture
def bfloat16(recipe) -> Recipe:
    return with_train(recipe, precision="bfloat16")


def with_train(recipe: Recipe, **values) -> Recipe:
    return recipe.model_copy(update={"train": recipe.train.model_copy(update=values)})


def records(run) -> list[dict]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def losses(run) -> list[float]:
    return [record["loss"] for record in records(run) if "loss" in record]


def test_it_learns_as_in_float32_but_for_roundings(recipe, bfloat16, tmp_path, console):
    lower, full = (losses(train(each, tmp_path / each.train.precision, console=console)) for each in (bfloat16, recipe))
    assert lower[-1] < lower[0]
    assert lower != full
    assert lower == pytest.approx(full, rel=0.01)
    assert "precision  bfloat16\n" in console.file.getvalue()


def test_weights_moments_gradients_and_memory_are_kept_in_float32(bfloat16, tmp_path, console):
    slow = with_train(bfloat16, update_every=5)  # so that a gradient is left over
    checkpoint = find_checkpoint(train(slow, tmp_path / "run", console=console))
    for name, tensor in load_file(checkpoint / "model.safetensors").items():
        assert tensor.dtype == torch.float32, name
    state = load_file(checkpoint / "trainer.safetensors")
    assert {name.partition(".")[0] for name in state} == {"memory", "optimizer", "gradient", "random"}
    for name, tensor in state.items():
        assert tensor.dtype in (torch.float32, torch.int64, torch.uint8), name


def test_validation_is_in_the_runs_precision_and_evaluation_in_float32(bfloat16, tmp_path, console):
    run = train(bfloat16, tmp_path / "run", console=console)
    validation = records(run)[-1]["validation_nats_per_token"]
    evaluation = evaluate_run(run).nats_per_token
    assert validation != pytest.approx(evaluation, rel=1e-7)
    assert validation == pytest.approx(evaluation, rel=1e-3)


def test_a_compiled_model_takes_the_same_steps_in_one_graph(bfloat16):
    values = np.random.default_rng(0).integers(0, 300, 500)
    plain, compiled = (new_session(bfloat16, 300, values, bind("pytorch")) for _ in range(2))
    compiled.model.compile(fullgraph=True, backend="aot_eager")
    for session in (plain, compiled):
        torch.manual_seed(0)
        for _ in range(4):
            session.step()
    assert compiled.counters.recent_losses == plain.counters.recent_losses


def test_a_backend_that_cannot_is_refused_before_anything_is_made(bfloat16, tmp_path, console):
    strict = bfloat16.model_copy(update={"backend": "tvm"})
    with pytest.raises(BackendUnsupported, match=r"on cpu in bfloat16: tvm: dtype bfloat16 is not among[^\n]*$"):
        train(strict, tmp_path / "run", console=console)
    assert not (tmp_path / "run").exists()
    train(strict.model_copy(update={"backend": "tvm,pytorch"}), tmp_path / "run", console=console)


def test_backends_are_asked_for_the_device_that_trains(bfloat16, tmp_path, console, monkeypatch):
    class Asked(Exception):
        pass

    def describe(self: Ops, *asked) -> str:
        raise Asked(*asked)

    monkeypatch.setattr("seqmem.train.trainer.default_device", lambda: torch.device("cuda"))
    monkeypatch.setattr(Ops, "describe", describe)
    with pytest.raises(Asked) as asked:
        train(bfloat16, tmp_path / "run", console=console)
    assert asked.value.args == ("cuda", torch.bfloat16)


def test_activations_take_less_memory():
    config = model_config("transformer-xl/small")
    needed = {
        precision: training_memory(config, bind("pytorch"), TrainConfig(precision=precision))
        for precision in ("float32", "bfloat16")
    }
    assert 0.5 < needed["bfloat16"].pop("activations") / needed["float32"].pop("activations") < 0.8
    assert needed["bfloat16"] == needed["float32"]


def test_memory_is_that_of_the_device_that_trains(monkeypatch):
    config = model_config("transformer-xl/tiny")
    on_cpu = training_memory(config, bind("pytorch"), TrainConfig())
    monkeypatch.setattr("seqmem.train.device.default_device", lambda: torch.device("cuda"))
    assert training_memory(config, bind("pytorch"), TrainConfig()) == on_cpu

"""Tasks in training: scores by hand, padding changes nothing, runs resume, begin with others' weights and are read."""

import json

import pytest
import torch

from seqmem.config import Recipe, TaskConfig
from seqmem.errors import SeqmemError
from seqmem.models import encoder_config
from seqmem.ops import bind
from seqmem.report.plots import plot_runs
from seqmem.schema import validated
from seqmem.state import State
from seqmem.train.checkpoint import find_checkpoint, load_tokenizer, load_trained
from seqmem.train.evaluate import evaluate_run
from seqmem.train.task import Task, best_span, class_scores, span_scores
from seqmem.train.trainer import train

ENCODER = dict(name="longformer", max_len=330, num_layers=1, d_model=8, num_heads=1, d_inner=8, window=3, num_types=2)
KINDS = ["classification", "question-answering"]


def recipe_of(recipe: Recipe, **sections) -> Recipe:
    changed = {"train": {**recipe.train.model_dump(), "steps": 4, "checkpoint_every": 2, "eval_every": 4}}
    return validated(Recipe, recipe.model_dump() | changed | {"model": ENCODER} | sections, "test")


@pytest.fixture(params=KINDS)
def asking(recipe, request) -> Recipe:
    """Four steps of a tiny encoder with dropout; made-up words need many pieces, so that examples are long."""
    return recipe_of(recipe, task={"kind": request.param, "lengths": (320, 330)}, eval={"batch_size": 200})


def weights(run) -> list[bytes]:
    return [(find_checkpoint(run) / name).read_bytes() for name in ("model.safetensors", "trainer.safetensors")]


def test_scores_are_those_by_hand():
    assert class_scores((1,), (1,)) == {"accuracy": 1.0}
    assert class_scores((0,), (1,)) == {"accuracy": 0.0}
    assert span_scores((4, 5), (4, 5)) == {"exact_match": 1.0, "f1": 1.0}
    assert span_scores((4, 4), (4, 5)) == {"exact_match": 0.0, "f1": pytest.approx(2 / 3)}
    assert span_scores((6, 7), (4, 5)) == {"exact_match": 0.0, "f1": 0.0}


def test_the_best_span_is_that_of_all_pairs():
    torch.manual_seed(0)
    logits = torch.randn(5, 14, 2)
    for row, found in zip(logits, best_span(logits).tolist(), strict=True):
        pairs = [(i, j) for i in range(14) for j in range(i, min(14, i + 8))]
        assert tuple(found) == max(pairs, key=lambda pair: float(row[pair[0], 0] + row[pair[1], 1]))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("global_tokens", [True, False])
def test_padding_changes_no_loss(kind, global_tokens):
    torch.manual_seed(0)
    objective = Task(TaskConfig(kind=kind, global_tokens=global_tokens))
    config = encoder_config("longformer/tiny", num_types=2, dropout=0.0, attention_dropout=0.0)
    model = objective.build(config, bind("pytorch")).double()
    place, lengths = torch.arange(20), torch.tensor([[13], [20]])
    valid, asking = place < lengths, (place < 4).expand(2, -1)
    inside = (place >= 5) & (place < lengths - 1)
    targets = torch.tensor([[1], [0]] if kind == "classification" else [[6, 8], [15, 15]])
    batch = torch.randint(256, (2, 20)), valid, asking, inside, targets

    def loss(rows: slice, length: int) -> float:
        *masks, answers = (tensor[rows] for tensor in batch)
        cut = tuple(mask[:, :length] for mask in masks)
        return objective.losses(model, (*cut, answers), State())[0]["loss"].item()

    alone = (loss(slice(0, 1), 13) + loss(slice(1, 2), 20)) / 2
    assert loss(slice(0, 2), 20) == pytest.approx(alone, abs=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_is_learnt_by_heart(kind):
    torch.manual_seed(0)
    objective = Task(TaskConfig(kind=kind))
    config = encoder_config("longformer/tiny", num_types=2, dropout=0.0, attention_dropout=0.0)
    model = objective.build(config, bind("pytorch"))
    place = torch.arange(20).expand(4, -1)
    targets = torch.tensor([[1], [0], [0], [1]] if kind == "classification" else [[6, 8], [15, 15], [7, 9], [18, 18]])
    batch = torch.randint(256, (4, 20)), place >= 0, place < 4, place > 4, targets
    optimizer, losses = torch.optim.Adam(model.parameters(), 5e-3), []
    for _ in range(60):
        loss = objective.losses(model, batch, State())[0]["loss"]
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert losses[0] > 0.5 > 0.1 > losses[-1]


def test_an_interrupted_run_goes_on_bit_for_bit(asking, tmp_path, console, interrupted):
    whole = train(asking, tmp_path / "whole", console=console)
    with interrupted(before=4):
        train(asking, tmp_path / "stopped", console=console)
    assert weights(train(asking, tmp_path / "stopped", console=console)) == weights(whole)


def test_a_run_is_measured_by_length_and_drawn(asking, tmp_path, console):
    run = train(asking, tmp_path / "run", console=console)
    evaluation = evaluate_run(run)
    saved = json.loads((run / "eval.json").read_text())
    names = ["accuracy"] if asking.task.kind == "classification" else ["exact_match", "f1"]
    validation = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])
    for name in names:
        assert validation[f"validation_{name}"] == saved[name]
        assert 0 <= saved[name] <= 1
    assert saved["num_examples"] == 400
    assert list(saved["by_length"]) == ["320-322", "323-326", "327-330"]
    assert all(set(scores) == set(names) for scores in saved["by_length"].values())
    assert asking.task.kind in evaluation.table()
    assert "scores.png" in {file.name for file in plot_runs([run], tmp_path / "plots", console)}


def test_training_begins_with_the_encoder_and_tokenizer_of_another_run(recipe, asking, tmp_path, console):
    masked = train(recipe_of(recipe, masking={}), tmp_path / "masked", console=console)
    values = asking.model_dump()
    values["train"] |= {"init": masked, "lr": 1e-12, "weight_decay": 0.0, "steps": 1}
    run = train(validated(Recipe, values, "test"), tmp_path / "run", console=console)
    assert load_tokenizer(run).hash == load_tokenizer(masked).hash
    before, after = load_trained(masked).state_dict(), load_trained(run).encoder.state_dict()
    assert before.keys() == after.keys()
    for name, tensor in before.items():
        torch.testing.assert_close(after[name], tensor, rtol=0, atol=1e-9)
    values["model"] = {**ENCODER, "d_inner": 16}
    with pytest.raises(
        SeqmemError, match=r"train\.init: the model of '.*' is another; give this one the same settings"
    ):
        train(validated(Recipe, values, "test"), tmp_path / "other", console=console)


def test_sound_does_not_begin_with_text(recipe, tmp_path, console):
    text = train(recipe_of(recipe, masking={}), tmp_path / "text", console=console)
    values = recipe.model_dump() | {"data": {"corpus": "sine"}, "codec": {}}
    values["train"]["init"] = text
    with pytest.raises(SeqmemError, match=r"train\.init: run '.*' is of bytes, the recipe is not; name another run"):
        train(validated(Recipe, values, "test"), tmp_path / "sound", console=console)


def test_objectives_do_not_mix(recipe):
    with pytest.raises(SeqmemError, match=r"one objective; leave out \[masking\] or \[task\]"):
        recipe_of(recipe, masking={}, task={"kind": "classification"})
    long = recipe_of(recipe, task={"kind": "classification", "lengths": (100, 331)})
    with pytest.raises(SeqmemError, match=r"task\.lengths end at 331, above the model's max_len = 330; lower that"):
        Task(long.task).model_config(long)

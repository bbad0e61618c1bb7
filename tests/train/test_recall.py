"""Recall in training: gradients reach what was written segments before; measured in pieces; resumed; drawn."""

import json

import numpy as np
import pytest
import torch

from seqmem.config import EvalConfig, RecallConfig, Recipe
from seqmem.errors import SeqmemError
from seqmem.models import build_model
from seqmem.ops import bind
from seqmem.report.plots import plot_runs
from seqmem.schema import validated
from seqmem.state import State
from seqmem.train.checkpoint import find_checkpoint
from seqmem.train.evaluate import evaluate_run
from seqmem.train.objective import objective_of
from seqmem.train.recall import Recall, answered_right
from seqmem.train.stages import stages_of
from seqmem.train.trainer import train

RECALL = {"task": "associative", "keys": 4, "lengths": (32, 64), "eval_lengths": (40, 100), "samples": 2}


@pytest.fixture
def recalling(recipe) -> Recipe:
    """Four steps of a tiny Titans."""
    training = recipe.train.model_dump() | {"steps": 4, "checkpoint_every": 2, "eval_every": 4}
    values = {"tokenizer": {"kind": "bytes"}, "recall": RECALL, "model": {"name": "titans-mac", "size": "tiny"}}
    return validated(Recipe, recipe.model_dump() | {"train": training} | values, "test")


def weights(run) -> list[bytes]:
    return [(find_checkpoint(run) / name).read_bytes() for name in ("model.safetensors", "trainer.safetensors")]


def test_the_gradient_of_an_answer_reaches_what_was_read_segments_before():
    torch.manual_seed(0)
    model = build_model("titans-mac/tiny", bind("pytorch"), vocab_size=257).double()
    inputs = torch.randint(256, (1, 80))
    inputs[0, 3] = 130
    assert (inputs == 130).sum() == 1
    answers, others = torch.tensor([79]), torch.arange(79)
    vectors = []

    def keep(module, arguments, result):
        result.retain_grad()
        vectors.append(result)

    model.blocks[0].mixer_norm.register_forward_hook(keep)
    losses, _ = Recall(RecallConfig(**RECALL)).losses(model, (inputs, inputs, answers, others), State())
    losses["loss"].backward()
    assert model.config.segment_len == 16
    assert vectors[0].grad[0, :16].abs().amax() > 0


def test_the_loss_is_the_mean_over_answers_and_the_rest_is_weighed():
    torch.manual_seed(0)
    model = build_model("transformer-xl/tiny", bind("pytorch"), vocab_size=257).double().eval()
    inputs, targets = torch.randint(256, (2, 3, 20))
    answers, others = torch.randperm(60).split((20, 40))
    nll = -model.head.logits(model(inputs).hidden).log_softmax(-1).gather(-1, targets[..., None]).flatten()
    losses, state = Recall(RecallConfig(task="copy", rest=0.5)).losses(
        model, (inputs, targets, answers, others), State()
    )
    assert losses["loss"].item() == pytest.approx(nll[answers].mean().item(), abs=1e-9)
    assert losses["auxiliary/rest"].item() == pytest.approx(nll[others].mean().item() / 2, abs=1e-9)
    assert state == State()

    torch.manual_seed(0)
    model = build_model("transformer-xl/tiny", bind("pytorch"), vocab_size=257).double().eval()
    ids = torch.randint(256, (3, 50))
    # Greedy: from the end of the prompt on, every token is what the model says.
    for place in range(40, 50):
        ids[:, place] = model.head.logits(model(ids[:, :place]).hidden[:, -1]).argmax(-1)
    numbers = np.full((3, 50), -1)
    numbers[:, 40:45], numbers[:, 45:] = 0, 1
    assert answered_right(model, ids.numpy(), numbers) == [1.0, 1.0, 1.0]
    ids[1, 49] = (ids[1, 49] + 1) % 256
    assert answered_right(model, ids.numpy(), numbers) == [1.0, 0.5, 1.0]


def test_an_interrupted_run_goes_on_bit_for_bit(recalling, tmp_path, console, interrupted):
    whole = train(recalling, tmp_path / "whole", console=console)
    with interrupted(before=4):
        train(recalling, tmp_path / "stopped", console=console)
    assert weights(train(recalling, tmp_path / "stopped", console=console)) == weights(whole)


def test_a_run_is_measured_by_length_and_depth_and_drawn(recalling, tmp_path, console):
    run = train(recalling, tmp_path / "run", console=console)
    table = evaluate_run(run).table()
    saved = json.loads((run / "recall.json").read_text())
    assert np.shape(saved["accuracies"]) == (2, 3)
    assert saved["accuracy"] == pytest.approx(np.mean(saved["accuracies"]))
    assert saved["chance"] == 1 / 64
    assert "1.6% by chance" in table
    assert "100 bytes" in table
    assert {"recall.png", "scores.png"} <= {file.name for file in plot_runs([run], tmp_path / "plots", console)}
    validation = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])
    assert 0 <= validation["validation_accuracy"] <= 1
    asked = evaluate_run(run, lengths=(33, 50, 70), samples=1)
    assert asked.eval_lengths == (33, 50, 70)
    assert asked.samples == 1


def test_what_does_not_fit_is_refused(recalling, tmp_path):
    values = recalling.model_dump()
    for changed, problem in (
        ({"masking": {}}, r"one objective; leave out \[masking\] or \[recall\]"),
        ({"tokenizer": {"kind": "bpe"}}, r'\[recall\] is of bytes of text; set tokenizer.kind = "bytes"'),
        ({"recall": RECALL | {"keys": 65}}, r"recall.keys = 65: task 'associative' has 64; give at most as many"),
    ):
        with pytest.raises(SeqmemError, match=problem):
            objective_of(validated(Recipe, values | changed, "test"))
    with pytest.raises(SeqmemError, match="overlapping windows: recall is measured with what memory carries"):
        Recall(recalling.recall).evaluate(None, None, None, "validation", EvalConfig(), "", (8, 4))


def test_stages_have_lengths_and_keys_of_their_own(recalling, tmp_path, console):
    values = recalling.model_dump()
    values["train"] |= {"eval_every": 9, "log_every": 9}
    values["train"]["stages"] = [
        {"steps": 2, "lr": 1e-3, "recall": {"lengths": (16, 16), "keys": 2}},
        {"steps": 1, "lr": 1e-3, "batch_size": 1},
    ]
    staged = validated(Recipe, values, "test")
    assert [(stage.row_len, stage.tokens_a_step) for stage in stages_of(staged)] == [(16, 32), (64, 64)]
    run = train(staged, tmp_path / "run", console=console)
    validations = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [record["step"] for record in validations if "validation_accuracy" in record] == [2, 3]
    values["train"]["stages"][0]["recall"] = {"length": 3}
    with pytest.raises(SeqmemError, match=r"train.stages.0.recall: unknown key 'length'; did you mean 'lengths'"):
        stages_of(validated(Recipe, values, "test"))
    values["train"]["stages"][0]["recall"], values["recall"] = {"keys": 2}, None
    with pytest.raises(SeqmemError, match=r"train.stages.0.recall: the recipe has no \[recall\]; leave it out"):
        stages_of(validated(Recipe, values, "test"))


def test_other_runs_have_no_lengths_of_recall(recipe, tmp_path, console):
    run = train(recipe, tmp_path / "run", console=console)
    with pytest.raises(SeqmemError, match=r"run '.*' is not of recall, which alone has lengths and samples"):
        evaluate_run(run, samples=3)

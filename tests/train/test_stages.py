"""Training in stages: lengths, rates and batches change at their borders, weights, moments and place go on."""

import json
from copy import deepcopy

import numpy as np
import pytest
import torch

from seqmem.config import Recipe, TrainConfig
from seqmem.data.documents import Documents, Laid
from seqmem.data.stream import TokenStream
from seqmem.errors import SeqmemError
from seqmem.models import build_model
from seqmem.ops import bind
from seqmem.schema import validated
from seqmem.train.checkpoint import find_checkpoint, load
from seqmem.train.optim import learning_rate
from seqmem.train.session import Session
from seqmem.train.stages import stage_at, stages_of, tokens_read
from seqmem.train.trainer import train

LONGFORMER = {
    "name": "longformer-lm",
    "num_layers": 2,
    "d_model": 16,
    "num_heads": 2,
    "head_dim": 8,
    "d_inner": 24,
    "dropout": 0.2,
    "segment_len": 8,
    "window": [4, 8],
    "dilation": [1, 2],
}
STAGES = [
    {"steps": 5, "lr": 1e-2},
    {"steps": 4, "lr": 5e-3, "model": {"segment_len": 16, "window": [8, 16]}},
    {"steps": 3, "lr": 2e-3, "batch_size": 1, "model": {"segment_len": 32, "window": [16, 32]}},
]
TIMES = {"seconds", "tokens_per_second", "memory_mb"}


@pytest.fixture
def staged(recipe: Recipe) -> Recipe:
    """Twelve steps of a tiny Longformer in three stages, whose borders no interval of the recipe meets."""
    values = recipe.model_dump()
    values["model"] = LONGFORMER
    values["train"] |= {"stages": STAGES, "log_every": 3, "eval_every": 6, "checkpoint_every": 2}
    return validated(Recipe, values, "test")


def metrics(run) -> list[dict]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def outcome(run) -> tuple:
    """What a finished run is, bit for bit, times apart."""
    checkpoint = find_checkpoint(run)
    counters = json.loads((checkpoint / "trainer.json").read_text())
    kept = {key: value for key, value in counters.items() if "seconds" not in key}
    tensors = [(checkpoint / name).read_bytes() for name in ("model.safetensors", "trainer.safetensors")]
    records = [{key: value for key, value in record.items() if key not in TIMES} for record in metrics(run)]
    return kept, tensors, records, (run / "sample.txt").read_bytes()


def test_rates_are_constant_after_a_warm_up_of_a_tenth_at_most_ten_thousand():
    stages = [{"steps": 430_000, "lr": 2.5e-4}, {"steps": 50, "lr": 1e-4}, {"steps": 3, "lr": 1e-5}]
    config = validated(TrainConfig, {"stages": stages, "steps": 7}, "test")
    assert config.steps == 430_053
    rates = {1: 2.5e-8, 5000: 1.25e-4, 10_000: 2.5e-4, 430_000: 2.5e-4}
    rates |= {430_001: 2e-5, 430_005: 1e-4, 430_050: 1e-4, 430_051: 1e-5, 430_053: 1e-5}
    assert {step: learning_rate(step, config) for step in rates} == pytest.approx(rates)


def test_stages_say_where_they_are_and_what_they_read(staged: Recipe):
    stages = stages_of(staged)
    assert [(stage.first, stage.last, stage.tokens_a_step) for stage in stages] == [
        (1, 5, 16),
        (6, 9, 32),
        (10, 12, 32),
    ]
    assert [stage.config.window for stage in stages] == [(4, 8), (8, 16), (16, 32)]
    assert [stage_at(stages, step) for step in (1, 5, 6, 9, 10, 12, 13)] == [stages[i] for i in (0, 0, 1, 1, 2, 2, 2)]
    assert [tokens_read(stages, step) for step in (0, 5, 6, 12)] == [0, 80, 112, 80 + 128 + 96]


def test_a_recipe_without_stages_is_one_stage(recipe: Recipe):
    (stage,) = stages_of(recipe)
    assert (stage.first, stage.last, stage.training) == (1, 12, recipe.train)


def test_a_session_goes_on_under_other_lengths_with_its_moments_and_place():
    """In float64, as the same steps of models built with these lengths, the optimizer's state copied by hand."""
    tokens = np.random.default_rng(1).integers(0, 30, 500)
    config = TrainConfig(batch_size=2, lr=1e-2, warmup_steps=0, weight_decay=0.1)
    sizes = {**LONGFORMER, "vocab_size": 30, "dropout": 0.0}
    del sizes["name"]
    torch.manual_seed(0)
    first = build_model("longformer-lm", bind("pytorch"), **sizes).double()
    session = Session(first, TokenStream(Laid(Documents.one(tokens)), 2, 8), config)
    for _ in range(3):
        session.step()

    lengths = {"segment_len": 16, "window": (8, 16)}
    fresh = build_model("longformer-lm", bind("pytorch"), **sizes | lengths).double()
    fresh.load_state_dict(first.state_dict())
    oracle = Session(fresh, TokenStream(Laid(Documents.one(tokens)), 2, 16), config)
    oracle.optimizer.load_state_dict(deepcopy(session.optimizer.state_dict()))
    oracle.counters.step, oracle.batches.cursor = 3, 24

    session.go_on(first.with_lengths(**lengths), TokenStream(Laid(Documents.one(tokens)), 2, 16), config)
    for _ in range(3):
        session.step()
        oracle.step()
    assert session.take_recent()[0]["loss"][3:] == oracle.take_recent()[0]["loss"]
    for name, parameter in session.model.named_parameters():
        assert torch.equal(parameter, fresh.get_parameter(name)), name
    assert session.counters.cursor == 24 + 3 * 16


def test_the_whole_run_has_one_log_with_the_end_of_every_stage(staged, tmp_path, console):
    run = train(staged, tmp_path / "run", console=console)
    logged = [record for record in metrics(run) if "loss" in record]
    assert [record["step"] for record in logged] == [3, 5, 6, 9, 12]
    assert [record["lr"] for record in logged] == [1e-2, 1e-2, 5e-3, 5e-3, 2e-3]
    assert [record["step"] for record in metrics(run) if "validation_bits_per_byte" in record] == [5, 6, 9, 12]
    printed = console.file.getvalue()
    assert "3; steps 1 to 5, 2 x 8 tokens, learning rate 0.01" in printed
    assert "stage 3 of 3: steps 10 to 12, 1 x 32 tokens, learning rate 0.002" in printed
    assert load(run).config.window == (16, 32)


@pytest.mark.parametrize("stops", [[2], [5], [6], [4, 9], [5, 7, 9, 11]])
def test_a_run_that_was_stopped_in_or_between_stages_ends_bit_for_bit_as_the_whole(
    staged, tmp_path, console, interrupted, stops
):
    whole = train(staged, tmp_path / "whole", console=console)
    for stop in stops:
        with interrupted(before=stop + 1):
            train(staged, tmp_path / "parts", console=console)
    train(staged, tmp_path / "parts", console=console)
    assert outcome(tmp_path / "parts") == outcome(whole)


def test_memory_of_another_length_begins_empty(recipe, tmp_path, console):
    values = recipe.model_dump()
    stages = [{"steps": 3, "lr": 1e-2}, {"steps": 3, "lr": 1e-2, "model": {"mem_len": 20, "segment_len": 4}}]
    values["train"] |= {"stages": stages, "checkpoint_every": 2}
    run = train(validated(Recipe, values, "test"), tmp_path / "run", console=console)
    assert (load(run).config.mem_lens, load(run).config.segment_len) == ((20, 20), 4)


@pytest.mark.parametrize(
    ("stage", "message"),
    [
        ({"model": {"windw": 3}}, r"train\.stages\.1\.model: unknown key 'windw'; did you mean 'window'"),
        ({"model": {"window": 0}}, r"train\.stages\.1\.model: key 'window' = 0: should be positive"),
        ({"model": {"d_inner": 48}}, r"train\.stages\.1\.model changes a weight, blocks\.0.*; give lengths alone"),
    ],
)
def test_what_a_stage_cannot_be_is_said_before_training(staged, stage, message):
    values = staged.model_dump()
    values["train"]["stages"] = [STAGES[0], {"steps": 1, "lr": 1e-3} | stage]
    with pytest.raises(SeqmemError, match=message):
        stages_of(validated(Recipe, values, "test"))


def test_a_run_keeps_its_stages(staged, tmp_path, console):
    train(staged, tmp_path / "run", console=console)
    values = staged.model_dump()
    values["train"]["stages"] = STAGES[:2]
    with pytest.raises(SeqmemError, match=r"begun with another train\.stages"):
        train(validated(Recipe, values, "test"), tmp_path / "run", console=console)

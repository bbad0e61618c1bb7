"""Masked language models in training: padding changes nothing, runs repeat and resume, evaluation says what it is."""

import json

import pytest
import torch

from seqmem.config import EvalConfig, MaskingConfig, Recipe
from seqmem.data.corpus import Corpus
from seqmem.data.sources.source import Text
from seqmem.data.store.build import tokenized
from seqmem.errors import SeqmemError
from seqmem.models import build_encoder
from seqmem.ops import bind
from seqmem.schema import validated
from seqmem.state import State
from seqmem.train.checkpoint import find_checkpoint, load, load_tokenizer, load_trained
from seqmem.train.evaluate import evaluate_run
from seqmem.train.masked_token import MaskedToken
from seqmem.train.trainer import train

ENCODER = dict(name="longformer", max_len=20, num_layers=2, d_model=16, num_heads=2, d_inner=24, window=3)


@pytest.fixture
def masked(recipe) -> Recipe:
    """The tiny recipe with an encoder with dropout."""
    return validated(Recipe, recipe.model_dump() | {"model": ENCODER, "masking": {"whole_words": True}}, "test")


def finished(run) -> tuple:
    checkpoint = find_checkpoint(run)
    counters = json.loads((checkpoint / "trainer.json").read_text())
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    timed = {"seconds", "recent_seconds", "tokens_per_second", "memory_mb"}
    tensors = [(checkpoint / name).read_bytes() for name in ("model.safetensors", "trainer.safetensors")]
    return tensors, *([{k: v for k, v in record.items() if k not in timed} for record in (counters, *records)],)


def test_padding_changes_neither_loss_nor_gradient():
    torch.manual_seed(0)
    model = build_encoder("longformer/tiny", bind("pytorch"), dropout=0.0, attention_dropout=0.0).double()
    lengths, total = [5, 12, 9], 12
    inputs, valid = torch.randint(256, (3, total)), torch.arange(total) < torch.tensor(lengths)[:, None]
    places, targets = torch.tensor([1, 4, total + 11, 2 * total + 3]), torch.randint(256, (4,))
    objective = MaskedToken(MaskingConfig())
    losses, _ = objective.losses(model, (inputs, valid, places, targets), State())
    alone = []
    for row, length in enumerate(lengths):
        hidden = model(inputs[row : row + 1, :length])
        mine = places // total == row
        alone.append(model.head.nll(hidden[0, places[mine] % total], targets[mine]))
    expected = torch.cat(alone).mean()
    assert losses["loss"].item() == pytest.approx(expected.item(), abs=1e-12)
    weights = [parameter for name, parameter in model.named_parameters() if "global" not in name]
    for mine, other in zip(*(torch.autograd.grad(loss, weights) for loss in (losses["loss"], expected)), strict=True):
        torch.testing.assert_close(mine, other, rtol=0, atol=1e-12)


@pytest.mark.parametrize("number", [5, 9])
def test_an_interrupted_run_goes_on_bit_for_bit(masked, tmp_path, console, interrupted, number):
    whole = train(masked, tmp_path / "whole", console=console)
    with interrupted(before=number):
        train(masked, tmp_path / "stopped", console=console)
    assert finished(train(masked, tmp_path / "stopped", console=console)) == finished(whole)


def test_a_run_is_measured_and_says_how(masked, tmp_path, console):
    run = train(masked, tmp_path / "run", console=console)
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert {"bits_per_token", "loss"} <= records[0].keys()
    (*_, validation) = (record for record in records if "validation_accuracy" in record)
    evaluation = evaluate_run(run)
    assert evaluation.bits_per_token == validation["validation_bits_per_token"]
    assert "bits/token" in console.file.getvalue()
    assert f"seqmem eval {run}" in console.file.getvalue()
    saved = json.loads((run / "eval.json").read_text())
    assert saved["perplexity"] == pytest.approx(2 ** saved["bits_per_token"])
    assert saved["accuracy"] == saved["num_correct"] / saved["num_scored"]
    assert saved["segment_len"] == 20
    assert saved["tokenizer_hash"] == load_tokenizer(run).hash
    assert "masked token" in evaluation.table()


def test_masks_of_validation_are_the_same_for_every_seed_and_batch_size(masked, tmp_path, console):
    run = train(masked, tmp_path / "run", console=console)
    tokenizer, model = load_tokenizer(run), load_trained(run, bind("pytorch")).double()
    text = [Text("a", "the rat sat on a hat\n" * 9), Text("b", "on the mat")]
    splits = {"train": text, "validation": text, "test": []}
    corpus = tokenized(Corpus("rats", "here", "1", lambda: (splits, "")), tokenizer)
    objective = MaskedToken(masked.masking)
    one, many = (
        objective.evaluate(model, corpus, tokenizer, "validation", EvalConfig(batch_size=size), "text")
        for size in (1, 5)
    )
    assert one.num_scored == many.num_scored > 10
    assert one.total_nats == pytest.approx(many.total_nats, rel=1e-12)
    assert not model.training


def test_a_batch_is_learnt_by_heart():
    torch.manual_seed(0)
    model = build_encoder("longformer/tiny", bind("pytorch"), dropout=0.0, attention_dropout=0.0)
    inputs, places = torch.randint(256, (2, 12)), torch.arange(0, 24, 3)
    batch = inputs, torch.ones(2, 12, dtype=torch.bool), places, torch.randint(256, (8,))
    objective, optimizer, losses = MaskedToken(MaskingConfig()), torch.optim.Adam(model.parameters(), 5e-3), []
    for _ in range(60):
        loss = objective.losses(model, batch, State())[0]["loss"]
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert losses[0] > 5 > 0.1 > losses[-1]


def test_a_causal_model_and_an_encoder_are_told_apart(recipe, masked, tmp_path, console):
    causal = recipe.model_copy(update={"masking": MaskingConfig()})
    with pytest.raises(SeqmemError, match=r"^'transformer-xl' is no encoder: .*without \[masking\]"):
        train(causal, tmp_path / "run", console=console)
    with pytest.raises(SeqmemError, match=r"^'longformer' is no model: .*\[masking\] or \[task\]"):
        train(masked.model_copy(update={"masking": None}), tmp_path / "run", console=console)
    run = train(masked, tmp_path / "run", console=console)
    with pytest.raises(SeqmemError, match=r"trained an encoder.*use seqmem eval"):
        load(run)
    for given in ({"mem_len": 4}, {"segment_len": 4}, {"windows": (8, 4)}):
        with pytest.raises(SeqmemError, match=r"an encoder reads whole texts; leave it out"):
            evaluate_run(run, **given)


def test_what_cannot_be_read_whole_is_refused(masked, recipe):
    longer = masked.model_copy(update={"masking": MaskingConfig(segment_len=21)})
    with pytest.raises(SeqmemError, match=r"masking\.segment_len = 21 is above the model's max_len = 20; lower it"):
        MaskedToken(longer.masking).model_config(longer)
    with pytest.raises(SeqmemError, match=r"an encoder reads text; leave \[codec\] out"):
        validated(Recipe, masked.model_dump() | {"codec": {}}, "test")

"""metrics.jsonl: its lines, where a run resumes, and what the records of a run say."""

import itertools
import json
import sys
from types import SimpleNamespace

import pytest

from seqmem.config import Recipe
from seqmem.errors import SeqmemError
from seqmem.train.checkpoint import find_checkpoint
from seqmem.train.metrics import MetricsLog
from seqmem.train.trainer import train


def steps(run) -> list[str]:
    return (run / "metrics.jsonl").read_text().splitlines()


def test_records_are_appended_and_on_disk_at_once(tmp_path):
    with MetricsLog(tmp_path, 0) as log:
        log.write({"step": 1, "loss": 0.1})
        assert steps(tmp_path) == ['{"step": 1, "loss": 0.1}']
        log.write({"step": 2, "loss": 0.2})
    assert len(steps(tmp_path)) == 2


@pytest.mark.parametrize(("step", "kept"), [(0, 0), (1, 1), (2, 3), (3, 3), (9, 4)])
def test_log_is_cut_back_to_the_step(tmp_path, step, kept):
    lines = ['{"step": 1}', '{"step": 2}', '{"step": 2, "evaluation": "é"}', '{"step": 4}']
    (tmp_path / "metrics.jsonl").write_text("\n".join(lines) + '\n{"step": 5, "lo')
    with MetricsLog(tmp_path, step) as log:
        log.write({"step": 10})
    assert steps(tmp_path) == [*lines[:kept], '{"step": 10}']


def test_tensorboard_missing_is_an_error_with_the_fix(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(SeqmemError, match=r"train\.tensorboard.*pip install tensorboard"):
        MetricsLog(tmp_path, 0, tensorboard=True)


def with_model(recipe: Recipe, **values) -> Recipe:
    return recipe.model_copy(update={"model": recipe.model | values})


def training_records(run) -> list[dict]:
    return [record for record in map(json.loads, steps(run)) if "loss" in record]


@pytest.mark.parametrize("loss", ["attention-reconstruction", "auto-encoding"])
def test_auxiliary_losses_are_logged_by_layer(recipe, tmp_path, console, loss):
    compressive = with_model(recipe, name="compressive", cmem_len=4, compression_rate=2, compression_loss=loss)
    records = training_records(train(compressive, tmp_path / "compressive", console=console))
    others = training_records(train(recipe, tmp_path / "without", console=console))
    own = {f"auxiliary/{loss.replace('-', '_')}.{layer}" for layer in (0, 1)} | {"auxiliary_grad_norm"}
    assert [record.keys() - other.keys() for record, other in zip(records, others, strict=True)] == [own] * 4
    assert not any("auxiliary" in key for other in others for key in other)
    assert all(records[-1][key] > 0 for key in own)


@pytest.mark.parametrize(("bptt_segments", "unroll_len"), [(1, 8), (3, 24)])
def test_a_step_reads_and_counts_as_many_tokens_as_gradients_flow_through(
    recipe, tmp_path, console, monkeypatch, bptt_segments, unroll_len
):
    """By a clock on which every step takes a second."""
    ticks = itertools.count()
    monkeypatch.setattr("seqmem.train.session.time", SimpleNamespace(perf_counter=lambda: float(next(ticks))))
    run = train(with_model(recipe, bptt_segments=bptt_segments), tmp_path / "run", console=console)
    counters = json.loads((find_checkpoint(run) / "trainer.json").read_text())
    assert counters["cursor"] == recipe.train.steps * unroll_len
    records = training_records(run)
    assert [record["tokens_per_second"] for record in records] == [recipe.train.batch_size * unroll_len] * 4
    assert [record["seconds"] for record in records] == [3, 6, 9, 12]

"""Proteins from a file to a run that goes on, its neighbouring segments' mutual information included."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np


def test_proteins_train_and_go_on(seqmem: Callable, tmp_path: Path):
    draw = np.random.default_rng(0)
    sequences = ["".join(draw.choice(list("ACDEFGHIKLMNPQRSTVWY"), 120)) for _ in range(40)]
    proteins = tmp_path / "proteins.fasta"
    proteins.write_text("".join(f">p{index}\n{sequence}\n" for index, sequence in enumerate(sequences)))
    run, of_segments = tmp_path / "run", "--train.bmi.segment_len=8"
    model = ("--model.name", "transformer", "--model.size", "tiny", "--backend", "pytorch", "--generate.tokens", 8)
    bmi = ("--train.bmi.weight", 0.1, "--train.bmi.likelihood_weight", 0.5, "--train.bmi.after", 1, of_segments)
    logged = ("--train.log_every", 1, "--train.steps", 2, "--train.warmup_steps", 1)
    finished = seqmem("train", "recipes/windows", "--data", proteins, "--run", run, *model, *bmi, *logged)
    assert finished.code == 0, finished.err
    assert "40 documents, split by document" in finished.err + finished.out
    finished = seqmem("train", "--resume", run, "--train.steps", 3)
    assert finished.code == 0, finished.err
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    steps = {record["step"]: set(record) for record in records if "loss" in record}
    assert "bmi/likelihood" not in steps[1]
    assert {"bmi/discrimination", "bmi/likelihood", "critic_grad_norm"} <= steps[2] & steps[3]
    finished = seqmem("eval", run)
    assert finished.code == 0, finished.err
    finished = seqmem("train", "--resume", run, "--train.bmi.weight", 0.2)
    assert "was begun with another train.bmi; restore it" in finished.err

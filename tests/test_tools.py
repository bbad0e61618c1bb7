"""The tools run; what they measure is not judged here."""

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
# FlexAttention takes half a minute to compile; without a compiler it is skipped, as where there is none.
NO_COMPILER = os.environ | {"CXX": "/nonexistent"}


def run(*arguments: str) -> str:
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, env=NO_COMPILER).stdout


def test_attention_benchmark_compares_equal_results_and_writes_json():
    shape = ["--length", "130", "--window", "16", "--heads", "2", "--width", "8", "--rounds", "1"]
    record = json.loads(run("tools/bench", "attention", *shape, "--json"))
    for direction in ("forward", "forward+backward"):
        first, other = (record[direction][name] for name in ("seqmem, pytorch", "sdpa, chunks of 128"))
        assert (first["seconds"] > 0, first["times_seqmem"]) == (True, 1.0)
        assert other["times_seqmem"] == other["seconds"] / first["seconds"]
        assert set(record[direction]["skipped"]) == {"FlexAttention, compiled", "Longformer, its chunks"}
    assert "compiler" in record["forward"]["skipped"]["FlexAttention, compiled"]
    assert record["machine"]["torch"]


def test_attention_benchmark_times_alone_what_only_this_project_computes():
    shape = ["--length", "40", "--window", "8", "--heads", "2", "--width", "8", "--two-sided", "--dilation", "2"]
    record = json.loads(run("tools/bench", "attention", *shape, "--rel", "--rounds", "1", "--json"))
    assert set(record["forward+backward"]) == {"seqmem, pytorch", "matmul_gflops", "skipped"}


def test_block_benchmark_compares_equal_results():
    shape = ["--length", "90", "--size", "8", "--heads", "2", "--width", "8", "--rounds", "1"]
    for causal in ([], ["--causal"]):
        record = json.loads(run("tools/bench", "blocks", *shape, *causal, "--json"))
        for direction in ("forward", "forward+backward"):
            assert record[direction]["sdpa, mask"]["of_matmul_rate"] > 0
            assert set(record[direction]["skipped"]) == {"FlexAttention, compiled", "BigBird, its blocks"}


def test_targets_are_all_measured_both_ways():
    record = json.loads(
        run("tools/bench", "targets", "--backend", "pytorch", "--length", "32", "--rounds", "1", "--json")
    )
    ways = [
        {row["what"] for row in record["rows"] if row["direction"] == way} for way in ("forward", "forward+backward")
    ]
    assert ways[0] == ways[1]
    assert {"time of best of PyTorch, x ours", "time of T1024 to T512", "peak memory of T1024, in operands"} < ways[0]
    assert min(row["measured"] for row in record["rows"] if "peak" not in row["what"]) > 0
    judged = [row for row in record["rows"] if row["bound"] is not None]
    for row in judged:
        assert row["met"] == ((row["measured"] <= row["bound"]) == row["at_most"])


def test_recipe_benchmark_times_steps_of_the_recipe_as_it_was_changed():
    small = {"model.d_model": "16", "model.num_layers": "1", "model.segment_len": "8", "tokenizer.vocab_size": "300"}
    changes = [word for change in small.items() for word in ("--set", *change)]
    record = json.loads(run("tools/bench", "recipe", "--backend", "pytorch", *changes, "--rounds", "1", "--json", "-"))
    assert record["settings"]["model.segment_len"] == 8
    (row,) = record["training"].values()
    assert (row["tokens_per_second"] > 0, row["times_pytorch"]) == (True, 1.0)


def test_streaming_benchmark_measures_both_lengths_to_their_ends():
    small = ["--model", "linear-transformer/tiny", "--tokens", "4000"]
    record = json.loads(run("tools/bench", "streaming", *small, "--json"))
    short, long = record["tokens"]["400"], record["tokens"]["4000"]
    assert record["peak_ratio"] == long["peak_mb"] / short["peak_mb"]
    assert len(long["resident_mb"]) == 10
    assert min(long["tokens_per_second"], *long["resident_mb"]) > 0


def test_crossover_benchmark_measures_every_layer_both_ways_and_draws(tmp_path: Path):
    figure = tmp_path / "crossover.png"
    short = ["--length", "16", "--length", "300", "--seconds", "0", "--rounds", "1", "--figure", str(figure)]
    record = json.loads(run("tools/bench", "crossover", "--backend", "pytorch", *short, "--json"))
    costs = record["microseconds_a_token"]
    assert list(costs) == [
        f"{seen}, {way}" for seen in ("causal", "two-sided") for way in ("forward", "forward+backward")
    ]
    for name, layers in costs.items():
        assert all(list(of_layer) == ["16"] for of_layer in layers.values())  # all took longer than no time
        assert min(cost for of_layer in layers.values() for cost in of_layer.values()) > 0
        assert len(record["crossings"][name]) == 2 * (len(layers) - 2)
    assert figure.stat().st_size > 0


def test_peers_are_listed():
    files = {path.stem for path in (ROOT / "tools" / "peers").glob("*.py")}
    comparisons = files - {"__main__", "environment", "twins"}
    assert comparisons >= {"compressive", "transformer_xl", "wavenet"}
    usage = run("tools/peers", "--help")
    assert [name for name in sorted(comparisons) if name not in usage] == []

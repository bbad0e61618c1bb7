"""The tools run; what they measure is not judged here."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def run(*arguments: str) -> str:
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout


def test_attention_benchmark_compares_equal_results_and_writes_json():
    shape = ["--length", "130", "--window", "16", "--heads", "2", "--width", "8", "--rounds", "1"]
    record = json.loads(run("tools/bench", "attention", *shape, "--json"))
    for direction in ("forward", "forward+backward"):
        row = record[direction]["seqmem, pytorch"]
        assert row["seconds"] > 0
        assert row["times_sdpa_mask"] == record[direction]["sdpa, mask"]["seconds"] / row["seconds"]
    assert record["machine"]["torch"]


def test_streaming_benchmark_measures_both_lengths_to_their_ends():
    record = json.loads(run("tools/bench", "streaming", "--tokens", "4000", "--json"))
    short, long = record["tokens"]["400"], record["tokens"]["4000"]
    assert record["peak_ratio"] == long["peak_mb"] / short["peak_mb"]
    assert len(long["resident_mb"]) == 10
    assert min(long["tokens_per_second"], *long["resident_mb"]) > 0


def test_peers_are_listed():
    comparisons = {path.stem for path in (ROOT / "tools" / "peers").glob("*.py")} - {"__main__", "environment"}
    assert comparisons >= {"compressive", "transformer_xl"}
    usage = run("tools/peers", "--help")
    assert [name for name in sorted(comparisons) if name not in usage] == []

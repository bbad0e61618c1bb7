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


def test_peers_are_listed():
    comparisons = {path.stem for path in (ROOT / "tools" / "peers").glob("*.py")} - {"__main__", "environment"}
    assert comparisons >= {"compressive", "transformer_xl"}
    usage = run("tools/peers", "--help")
    assert [name for name in sorted(comparisons) if name not in usage] == []

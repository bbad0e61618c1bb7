"""The streaming benchmark runs; how much it measures is not judged here."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_both_lengths_are_measured_to_their_ends():
    command = [sys.executable, "tools/bench", "streaming", "--tokens", "4000", "--json"]
    record = json.loads(subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout)
    short, long = record["tokens"]["400"], record["tokens"]["4000"]
    assert record["peak_ratio"] == long["peak_mb"] / short["peak_mb"]
    assert len(long["resident_mb"]) == 10
    assert min(long["tokens_per_second"], *long["resident_mb"]) > 0

"""The script for machines with a GPU, rehearsed on one without."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]


def rehearse(folder: Path, *options: str, python_path: Path = ROOT) -> tuple[dict[str, Any], str]:
    """What it wrote, and what it printed."""
    command = [
        sys.executable,
        str(ROOT / "tools/gpu_check"),
        "--rehearse",
        "--json",
        str(folder / "gpu.json"),
        *options,
    ]
    environment = os.environ | {"PYTHONPATH": str(python_path)}
    finished = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr[-2000:]
    return json.loads((folder / "gpu.json").read_text()), finished.stdout


def test_it_goes_through_every_section(tmp_path: Path):
    found, printed = rehearse(tmp_path, "--minutes", "90")
    assert printed.endswith(json.dumps(found, indent=1) + "\n")
    assert "failed: " not in printed
    assert not [name for name, result in found.items() if {"error", "stopped"} & result.keys()]
    assert found["machine"]["device"] == "interpreted"
    assert found["attention_speed"]["width 16"].keys() >= {"triton", "triton, relative positions"}
    assert found["determinism"] == {"torch.float16": True}
    training = found["training"]
    for variant in ("eager", "compiled"):
        row = training[variant]
        assert row["tokens_per_second"] > 0
        rate = row["tokens_per_second"] / training["tokens"] * training["operations"] / row["mfu_of_mm"]
        assert 1e6 < rate < 1e14, "of torch.mm"
        assert row["peak_gigabytes"] > 0.1
    for row in found["generation"].values():
        assert row["graph_tokens_per_second"] > 0
        assert row["difference"] < 1e-5 < row["largest"]
    assert found["generation"].keys() == {"float32, 1", "float32, 16"}
    assert found["million_tokens"]["gigabytes"] > 0.1
    assert found["conformance"]["failed"] == {}
    assert sum(found["conformance"]["passed"].values()) > 5


def test_a_missing_package_is_named_and_costs_only_the_section_that_needs_it(tmp_path: Path):
    """Machines with torch and triton do not all have pydantic."""
    (tmp_path / "pydantic.py").write_text("raise ModuleNotFoundError(\"No module named 'pydantic'\")")
    found, printed = rehearse(tmp_path, "--only", "training", "peak_memory", python_path=tmp_path)
    assert found["training"] == {"error": "failed: ModuleNotFoundError: No module named 'pydantic'"}
    assert found["training"]["error"] in printed
    assert found["peak_memory"].keys() == {"16", "32"}


def test_no_section_outlasts_the_time(tmp_path: Path):
    found, _ = rehearse(tmp_path, "--only", "determinism", "conformance", "--minutes", "0")
    assert found["determinism"] == found["conformance"] == {"stopped": "the time was up"}

"""The script for machines with a GPU, rehearsed on one without."""

import json
import subprocess
import sys
from pathlib import Path

PROGRAM = Path(__file__).parents[1] / "tools" / "gpu_check"


def test_it_goes_through_every_section(tmp_path: Path):
    command = [sys.executable, str(PROGRAM), "--rehearse", "--json", str(tmp_path / "gpu.json")]
    finished = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr[-2000:]
    found = json.loads((tmp_path / "gpu.json").read_text())
    assert finished.stdout.endswith(json.dumps(found, indent=1) + "\n")
    assert not [name for name, result in found.items() if isinstance(result, str)]
    assert found["machine"]["device"] == "interpreted"
    assert found["determinism"] == {"torch.float16": True}
    assert not found["conformance"]["failed"]
    assert sum(found["conformance"]["passed"].values()) > 5
    assert {row["contender"] for row in found["attention_speed"]} >= {"triton", "triton, relative positions"}

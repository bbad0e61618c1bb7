"""The session's own rule in conftest.py: unknown skips and empty sessions fail."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


def session(folder: Path, tests: str) -> tuple[int, str]:
    for name in ("conftest.py", "allowed_skips.txt"):
        (folder / name).write_text((HERE / name).read_text())
    (folder / "test_sample.py").write_text(f"import pytest\n{tests}")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(folder)]
    environment = os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_ADDOPTS": ""}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    return done.returncode, done.stdout


PASSING = "def test_passes(): pass\n"


@pytest.mark.parametrize(
    ("tests", "code", "message"),
    [
        (PASSING, 0, ""),
        (PASSING + "def test_gpu(): pytest.skip('needs a CUDA GPU')\n", 0, ""),
        (PASSING + "@pytest.mark.xfail\ndef test_hard(): assert False\n", 0, ""),
        (PASSING + "def test_lazy(): pytest.skip('not today')\n", 1, "not in allowed_skips.txt: not today"),
        (PASSING + "@pytest.mark.skipif(True, reason='why not')\ndef test_b(): pass\n", 1, "why not"),
        ("def test_gpu(): pytest.skip('needs a CUDA GPU')\n", 1, "no test ran"),
        ("pytest.importorskip('no_such_package')\n", pytest.ExitCode.NO_TESTS_COLLECTED, "1 skipped"),
        (PASSING + "def test_wrong(): assert False\n", 1, "1 failed"),
    ],
)
def test_a_session_passes_only_honestly(tests: str, code: int, message: str, tmp_path: Path):
    returned, output = session(tmp_path, tests)
    assert returned == code, output
    assert message in output

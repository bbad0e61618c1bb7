"""A session passes only if something ran and every skip has a reason that is known and accepted."""

import os
import re
import shutil
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

HAS_TRITON = find_spec("triton") is not None
if HAS_TRITON:
    # Read when its kernels are first imported: without a GPU their values can still be looked at.
    os.environ.setdefault("TRITON_INTERPRET", "1")
else:
    collect_ignore_glob = ["*triton*", "test_gpu_check.py"]


def pytest_sessionstart() -> None:
    """Spare Triton's interpreter half its time: it prepares its language anew for every call of every function."""
    if not HAS_TRITON:
        return
    from triton.runtime import interpreter

    prepared = set()

    def call(self: interpreter.InterpretedFunction, *args: Any, **kwargs: Any) -> Any:
        if self.fn not in prepared:
            interpreter._patch_lang(self.fn)
            prepared.add(self.fn)
        return self.rewrite()(*args, **kwargs)

    interpreter.InterpretedFunction.__call__ = call


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Keep what tests make of data out of the user's cache, in one place for all processes of the session."""
    if "SEQMEM_DATA_CACHE" not in os.environ:
        place = tempfile.mkdtemp(prefix="seqmem-tests-")
        os.environ["SEQMEM_DATA_CACHE"] = place
        config.add_cleanup(lambda: shutil.rmtree(place, ignore_errors=True))


ALLOWED_SKIPS = Path(__file__).with_name("allowed_skips.txt")


def _reason(report: pytest.TestReport | pytest.CollectReport) -> str:
    return report.longrepr[2].removeprefix("Skipped: ") if isinstance(report.longrepr, tuple) else str(report.longrepr)


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None or session.config.option.collectonly or session.exitstatus != pytest.ExitCode.OK:
        return
    allowed = [line for line in ALLOWED_SKIPS.read_text().splitlines() if line and not line.startswith("#")]
    reasons = {_reason(report) for report in reporter.stats.get("skipped", [])}
    unknown = sorted(reason for reason in reasons if not any(re.fullmatch(pattern, reason) for pattern in allowed))
    problems = [f"skipped for a reason not in {ALLOWED_SKIPS.name}: {reason}" for reason in unknown]
    if not reporter.stats.get("passed"):
        problems.append("no test ran")
    for problem in problems:
        reporter.write_line(f"\n{problem}", red=True)
    if problems:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED

"""Backends from other distributions: one that works, a broken one, duplicates; each really installed by pip."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"
[project]
name = "{distribution}"
version = "1.0"
[project.entry-points."seqmem.backends"]
{name} = "{module}:Backend"
[tool.hatch.build.targets.wheel]
include = ["{module}.py"]
"""

WORKING = """
from seqmem.ops import AttentionBackend, reference
import torch

class Backend(AttentionBackend):
    name = "{name}"
    dtypes = (torch.float32, torch.float64)

    def band_qk(self, q, k, band):
        return reference.band_qk(q, k, band)

    def band_pv(self, p, v, band):
        return reference.band_pv(p, v, band)

    def band_pv_t(self, p, g, band, num_keys):
        return reference.band_pv_t(p, g, band, num_keys)

    def scan(self, gate, x, initial=None):
        return reference.scan(gate, x, initial)
"""

BROKEN = "import a_package_that_does_not_exist\n"

PROBE = """
import json, logging, torch
from seqmem.errors import SeqmemError
from seqmem.ops import Band, bind, registry
q = torch.randn(1, 9, 2, 4)
def attempt(name):
    try:
        ops = bind(name)
        out, _ = ops.attend(q, q, q, Band(3))
        want, _ = bind("pytorch").attend(q, q, q, Band(3))
        return {"error": (out - want).abs().max().item(), "ops": ops.describe()}
    except SeqmemError as error:
        return {"message": str(error)}
rows = {f"{row.name} ({row.origin})": row.reason for row in registry.survey()}
names = ["third", "broken", "twice", "pytorch", "auto"]
print(json.dumps({"rows": rows} | {name: attempt(name) for name in names}))
"""


def install(folder: Path, target: Path, distribution: str, name: str, source: str) -> None:
    module = distribution.replace("-", "_")
    project = folder / distribution
    project.mkdir()
    (project / "pyproject.toml").write_text(PROJECT.format(distribution=distribution, name=name, module=module))
    (project / f"{module}.py").write_text(source.replace("{name}", name))
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*command, "--target", str(target), str(project)], check=True, capture_output=True)


@pytest.fixture(scope="module")
def probe(tmp_path_factory):
    folder, target = tmp_path_factory.mktemp("projects"), tmp_path_factory.mktemp("site")
    install(folder, target, "third-party", "third", WORKING)
    install(folder, target, "broken-party", "broken", BROKEN)
    install(folder, target, "twice-one", "twice", WORKING)
    install(folder, target, "twice-two", "twice", WORKING)
    install(folder, target, "impostor", "pytorch", WORKING)
    root = Path(__file__).resolve().parents[2]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(root), str(target)])}
    result = subprocess.run([sys.executable, "-c", PROBE], env=environment, capture_output=True, text=True, check=True)
    return json.loads(result.stdout)


def test_a_plug_in_computes_and_fills_in_from_the_defaults(probe):
    assert probe["third"]["error"] < 1e-5
    assert "third: band_qk, band_pv, band_pv_t, scan" in probe["third"]["ops"]
    assert "third (composed): attend[Band]" in probe["third"]["ops"]
    assert probe["rows"]["third (plug-in third-party)"] is None


def test_a_broken_plug_in_breaks_only_itself(probe):
    assert "No module named 'a_package_that_does_not_exist'" in probe["broken"]["message"]
    assert "failed to load" in probe["rows"]["broken (plug-in broken-party)"]
    assert probe["pytorch"]["error"] == 0
    assert probe["auto"]["error"] < 1e-6  # of rounding: auto takes the fastest backend, whichever is installed


def test_duplicates_are_refused(probe):
    assert "offered twice" in probe["twice"]["message"]
    assert "twice-one" in probe["twice"]["message"]
    assert "refused" in probe["rows"]["pytorch (plug-in impostor)"]
    assert probe["rows"]["pytorch (built in)"] is None

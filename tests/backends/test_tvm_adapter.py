"""What is said where TVM is missing or another one, what importing it changes, and what code it emits."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from seqmem.backends.tvm import installed
from seqmem.backends.tvm import spec as spec_module
from seqmem.backends.tvm.compiler import assembly_text

from seqmem.errors import SeqmemError
from seqmem.ops import dispatch, registry

FOLDER = Path(installed.__file__).parent


@pytest.fixture
def only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """``only(tvm="1.0")`` makes that all of the distributions that are installed."""

    def install(**versions: str) -> str | None:
        for name, version in versions.items():
            folder = tmp_path / f"{name}-{version}.dist-info"
            folder.mkdir(exist_ok=True)
            (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        monkeypatch.setattr(sys, "path", [str(tmp_path)])
        return installed.unavailable.__wrapped__()

    return install


def test_the_installed_version_is_taken():
    assert installed.unavailable() is None


@pytest.mark.parametrize("version", ["0.27.0", "0.27.3.post1", "0.27rc1"])
def test_supported_versions(only, version: str):
    assert only(apache_tvm=version) is None


@pytest.mark.parametrize("version", ["0.26.1", "0.28.0", "0.28.dev0", "1.0"])
def test_an_unsupported_version_is_named_with_what_is_wanted(only, version: str):
    wanted = f'apache-tvm {version} is installed, but 0.27 <= version < 0.28 is needed; run: pip install "seqmem[tvm]"'
    assert only(apache_tvm=version) == wanted


def test_a_missing_package_is_named(only):
    assert only() == "package 'apache-tvm' is not installed; run: pip install \"seqmem[tvm]\""


def test_the_unrelated_package_is_recognised(only):
    assert re.search("'tvm' is not Apache TVM; run: pip uninstall tvm, then", only(tvm="1.0"))
    assert "run: pip uninstall tvm apache-tvm, then" in only(tvm="1.0", apache_tvm="0.27.0")


@pytest.fixture
def without_tvm(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Why the backend is not available then."""
    reason = "package 'apache-tvm' is not installed; run: pip install \"seqmem[tvm]\""
    monkeypatch.setattr(installed, "unavailable", lambda: reason)
    monkeypatch.delitem(registry.imported, "tvm", raising=False)
    dispatch.decide.cache_clear()
    yield reason
    dispatch.decide.cache_clear()


@pytest.mark.parametrize("preference", ["tvm", "tvm,pytorch"])
def test_without_tvm_a_preference_for_it_says_why(without_tvm: str, preference: str):
    with pytest.raises(SeqmemError) as caught:
        dispatch.parse_preference(preference)
    assert str(caught.value) == f"backend 'tvm' is not available: {without_tvm}"


def test_auto_passes_over_it(without_tvm: str):
    auto = dispatch.parse_preference("auto")
    assert dispatch.choose(auto, "attend", "Band", False, torch.float32, "cpu", True, ())[0] == "pytorch"


def test_without_tvm_its_row_says_why(without_tvm: str):
    [row] = [row for row in registry.survey() if row.name == "tvm"]
    assert (row.available, row.reason, row.operations) == (False, without_tvm, {})


def test_only_the_adapter_names_tvm():
    imports = re.compile(r"^\s*(?:import|from) tvm", re.MULTILINE)
    assert [path.name for path in FOLDER.rglob("*.py") if imports.search(path.read_text("utf-8"))] == ["adapter.py"]


def test_importing_tvm_leaves_the_hook_for_errors_alone():
    code = "import sys; import seqmem.backends.tvm.adapter; print('tvm' in sys.modules, sys.excepthook.__module__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "sys"]


@pytest.mark.parametrize(
    ("isa", "dtype", "instruction"),
    [
        ("avx512", "float32", r"vfmadd\w+ps\s.*zmm"),
        ("avx512", "float64", r"vfmadd\w+pd\s.*zmm"),
        ("avx2", "float32", r"vfmadd\w+ps\s.*ymm"),
        ("neon", "float32", r"fmla\s+v\d+\.4s"),
        ("neon", "float64", r"fmla\s+v\d+\.2d"),
        ("generic", "float32", r"addps\s.*xmm|fmla\s+v\d+\.4s"),
    ],
)
def test_every_instruction_set_compiles_to_its_vectors(spec, isa: str, dtype: str, instruction: str):
    assert re.search(instruction, assembly_text(spec("doubling", dtype, isa)))


@pytest.mark.parametrize(
    ("machine", "capability", "isa"),
    [
        ("x86_64", "AVX512", "avx512"),
        ("AMD64", "AVX2", "avx2"),
        ("x86_64", "DEFAULT", "generic"),
        ("arm64", "DEFAULT", "neon"),
        ("aarch64", "SVE256", "neon"),
        ("ppc64le", "VSX", "generic"),
    ],
)
def test_the_host_is_known_by_what_torch_says(monkeypatch: pytest.MonkeyPatch, machine: str, capability: str, isa: str):
    monkeypatch.setattr(spec_module.platform, "machine", lambda: machine)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    assert spec_module.host_isa() == isa

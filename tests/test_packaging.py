"""What is built is what is tracked, no more and no less; an installed wheel works from any folder."""

import json
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def run(*command: str | Path, cwd: Path, **environment: str) -> str:
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, env=os.environ | environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def tracked() -> set[str]:
    if not (ROOT / ".git").exists():
        pytest.skip("needs the git checkout")
    return set(run("git", "ls-files", "-z", cwd=ROOT).strip("\0").split("\0"))


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist, the wheel of the checkout and, in ``again``, the wheel of the sdist."""
    folder = tmp_path_factory.mktemp("dist")
    build = (sys.executable, "-m", "build", "--no-isolation", "--outdir")
    run(*build, folder, "--sdist", "--wheel", ROOT, cwd=ROOT)
    unpacked = folder / "unpacked"
    with tarfile.open(sdist(folder)) as archive:
        archive.extractall(unpacked, filter="data")
    run(*build, folder / "again", "--wheel", next(unpacked.iterdir()), cwd=folder)
    return folder


@pytest.fixture(scope="module")
def installed(built: Path) -> Path:
    """A folder for PYTHONPATH that holds nothing but the wheel's content."""
    target = built / "installed"
    run(sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", target, wheel(built), cwd=built)
    return target


def sdist(folder: Path) -> Path:
    return next(folder.glob("*.tar.gz"))


def wheel(folder: Path) -> Path:
    return next(folder.glob("*.whl"))


def wheel_content(folder: Path) -> dict[str, int]:
    """Checksums by name, of all but the generated metadata."""
    with zipfile.ZipFile(wheel(folder)) as archive:
        return {item.filename: item.CRC for item in archive.infolist() if ".dist-info/" not in item.filename}


def test_sdist_holds_the_tracked_files(built: Path, tracked: set[str]):
    with tarfile.open(sdist(built)) as archive:
        names = {member.name.partition("/")[2] for member in archive.getmembers() if member.isfile()}
    assert names - {"PKG-INFO"} == tracked


def test_wheel_holds_package_backends_and_recipes(built: Path, tracked: set[str]):
    expected = {name for name in tracked if name.startswith("seqmem/")}
    expected |= {f"seqmem/{name}" for name in tracked if name.startswith(("backends/", "recipes/"))}
    assert set(wheel_content(built)) == expected


def test_wheel_of_the_sdist_is_the_same(built: Path):
    assert wheel_content(built / "again") == wheel_content(built)


def test_installed_command_line_knows_its_recipes(installed: Path, tmp_path: Path):
    location = run(
        sys.executable, "-c", "import seqmem; print(seqmem.__file__)", cwd=tmp_path, PYTHONPATH=str(installed)
    )
    assert Path(location.strip()).is_relative_to(installed)
    listed = run(sys.executable, "-m", "seqmem", "recipes", "list", cwd=tmp_path, PYTHONPATH=str(installed))
    assert "pg19" in listed


def test_installed_recipe_and_backend_resolve(installed: Path, tmp_path: Path):
    command = (sys.executable, "-m", "seqmem", "train", "recipes/pg19", "--print-config")
    assert json.loads(run(*command, cwd=tmp_path, PYTHONPATH=str(installed)))["name"] == "pg19"
    listed = run(sys.executable, "-m", "seqmem", "backends", cwd=tmp_path, PYTHONPATH=str(installed), COLUMNS="200")
    assert "pytorch" in listed

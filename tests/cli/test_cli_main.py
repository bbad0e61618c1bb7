"""What every verb shares: lazy imports, exit codes, errors of one line."""

import subprocess
import sys
from pathlib import Path

import pytest

import seqmem.cli
from seqmem.cli import VERBS

HEAVY = "sorted({'torch', 'numpy', 'sentencepiece'} & set(sys.modules))"


def python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("module", ["seqmem", "seqmem.config", "seqmem.errors", "seqmem.recipe", "seqmem.cli"])
def test_importing_does_not_import_torch(module: str):
    assert python(f"import sys, {module}; print({HEAVY})") == "[]\n"


def test_help_of_every_verb_imports_no_torch():
    code = f"""
import sys
from seqmem.cli import VERBS, cli
for verb in ([], *([verb] for verb in VERBS)):
    try:
        cli([*verb, "--help"])
    except SystemExit as stop:
        assert not stop.code
print({HEAVY})
"""
    assert python(code).endswith("\n[]\n")


def test_help_imports_no_verb():
    code = "import sys; from seqmem.cli import cli; cli(['--help'], standalone_mode=False); print(*sys.modules)"
    assert not {f"seqmem.cli.{verb.replace('-', '_')}" for verb in VERBS} & set(python(code).split())


def test_help_lists_every_verb(seqmem):
    shown = seqmem("--help")
    assert shown.code == 0
    assert all(f"  {verb} " in shown.out for verb in VERBS)


def test_every_verb_has_its_file():
    files = {path.stem for path in Path(seqmem.cli.__file__).parent.glob("*.py")}
    assert {verb.replace("-", "_") for verb in VERBS} <= files


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "pg20"], "error: no file, folder or built-in recipe 'pg20'; did you mean 'pg19'?\n"),
        (["train", "pg19", "--train.lrr", "1"], "error: recipe 'pg19': unknown key 'train.lrr'; did you mean 'lr'?\n"),
        (["train", "/dev/null/recipe.toml"], "error: "),
        (["recipes", "show", "pg20"], "error: no file, folder or built-in recipe 'pg20'; did you mean 'pg19'?\n"),
    ],
)
def test_a_users_error_is_one_line_and_exit_code_1(seqmem, arguments: list[str], message: str):
    finished = seqmem(*arguments)
    assert (finished.code, finished.out) == (1, "")
    assert finished.err.startswith(message)
    assert finished.err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["trian"], "No such command 'trian'; did you mean 'train'?"),
        (["train"], "Missing argument 'RECIPE'."),
        (["train", "pg19", "pg19"], "Got unexpected extra argument (pg19)."),
        (["train", "pg19", "--set", "steps"], "--set wants KEY=VALUE, not 'steps'."),
        (["train", "pg19", "--steps", "5"], "Did you mean --train.steps?"),
        (["eval", "run", "--split", "trian"], "'trian' is not one of"),
    ],
)
def test_misuse_is_exit_code_2(seqmem, arguments: list[str], message: str):
    finished = seqmem(*arguments)
    assert finished.code == 2
    assert message in finished.err


def test_an_unreadable_file_is_a_users_error(seqmem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied", "recipe.toml")

    (tmp_path / "recipe.toml").touch()
    monkeypatch.setattr(Path, "read_text", refuse)
    finished = seqmem("train", tmp_path)
    assert (finished.code, finished.err) == (1, "error: [Errno 13] Permission denied: 'recipe.toml'\n")


def test_a_closed_pipe_is_not_a_traceback():
    process = subprocess.Popen(
        [sys.executable, "-m", "seqmem", "recipes", "show", "pg19"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout
    assert process.stderr
    process.stdout.close()
    assert process.stderr.read() == b""
    process.wait()
    process.stderr.close()

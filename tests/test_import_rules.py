"""The arrows of the architecture: who may import whom. Imports inside functions count too."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

BASE = {"config", "errors", "schema", "state"}
MODEL_SIDE = {"models", "layers", "ops"} | BASE
ALLOWED = {
    "__init__": set(),
    "__main__": {"cli"},
    "errors": set(),
    "state": set(),
    "schema": {"errors"},
    "config": {"errors", "schema"},
    "recipe": {"config", "errors", "schema"},
    "data": BASE,
    "ops": {"errors"},
    "backends": {"ops", "errors"},
    "layers": {"ops"} | BASE,
    "models": {"layers", "ops"} | BASE,
    "testing": MODEL_SIDE,
    "generate": {"data"} | MODEL_SIDE,
    "train": {"generate", "data"} | MODEL_SIDE,
    "report": {"train", "generate", "data", "recipe"} | MODEL_SIDE,
    "convert": {"train", "data"} | MODEL_SIDE,
    "cli": {"train", "generate", "report", "convert", "data", "recipe", "testing"} | MODEL_SIDE,
}
TORCH_FREE = {"__init__", "__main__", "errors", "schema", "config", "recipe", "cli"}
KERNEL_LANGUAGES = {"triton", "tvm", "tvm_ffi"}


def imported(source: str, module: str) -> Iterator[tuple[str, bool]]:
    """Each imported name, absolute and dotted, and whether the import runs as soon as the module is imported."""
    package = module.split(".")[:-1]

    def visit(node: ast.AST, eager: bool) -> Iterator[tuple[str, bool]]:
        if isinstance(node, ast.Import):
            yield from ((alias.name, eager) for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            origin = package[: len(package) + 1 - node.level] if node.level else []
            origin = origin + ([node.module] if node.module else [])
            yield from ((".".join([*origin, alias.name]), eager) for alias in node.names)
        for_types_only = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        deferred = for_types_only or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for child in ast.iter_child_nodes(node):
            yield from visit(child, eager and not deferred)

    yield from visit(ast.parse(source), True)


def part_of(name: str) -> str:
    """``seqmem.ops.pattern`` and ``backends.tvm.kernels`` belong to ``ops`` and ``backends``; torch to ``torch``."""
    top, *inner = name.split(".")
    if top != "seqmem":
        return top
    return inner[0] if inner and inner[0] in ALLOWED else "__init__"


def violations(source: str, module: str) -> list[str]:
    """What a module imports against the rules."""
    part = part_of(module)
    own = "".join(f"{name}." for name in module.split(".")[:2]) if module.startswith("backends.") else f"seqmem.{part}"
    found = []
    for name, eager in imported(source, module):
        target = part_of(name)
        inside = target in ALLOWED or target in {"tools", "tests"}
        if name == "seqmem.__version__" or name.startswith(own):
            continue
        if inside and target not in ALLOWED[part]:
            found.append(f"{module} imports {name}: '{part}' must not know '{target}'")
        elif part == "backends" and name.startswith("seqmem.ops.reference"):
            found.append(f"{module} imports {name}: a backend must not lean on the oracle it is judged by")
        elif part != "backends" and target in KERNEL_LANGUAGES:
            found.append(f"{module} imports {name}: only backends know kernel languages")
        elif part in TORCH_FREE and eager and (target == "torch" or (inside and target not in TORCH_FREE)):
            found.append(f"{module} imports {name} when imported: it must stay free of torch")
    return found


def modules() -> Iterator[tuple[str, Path]]:
    for top in ("seqmem", "backends"):
        for path in sorted((ROOT / top).rglob("*.py")):
            yield ".".join(path.relative_to(ROOT).with_suffix("").parts), path


def test_every_import_follows_the_arrows():
    found = [problem for name, path in modules() for problem in violations(path.read_text(encoding="utf-8"), name)]
    assert not found, "\n".join(found)


def test_every_part_has_a_rule():
    parts = {path.stem for path in (ROOT / "seqmem").iterdir() if path.suffix == ".py" or any(path.glob("*.py"))}
    assert parts <= set(ALLOWED)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("seqmem.layers.relative", "from seqmem.models import build_model"),
        ("seqmem.layers.relative", "def forward():\n    from seqmem.backends.pytorch import kernels"),
        ("seqmem.layers.relative", "import triton.language as tl"),
        ("seqmem.models.lstm", "from seqmem import testing"),
        ("seqmem.models.lstm", "import seqmem"),
        ("seqmem.data.stream", "import seqmem.train.trainer"),
        ("seqmem.ops.registry", "from ..layers import relative"),
        ("seqmem.ops.registry", "import tools.bench"),
        ("seqmem.cli.train", "import torch"),
        ("seqmem.cli.train", "try:\n    from torch import nn\nfinally:\n    pass"),
        ("seqmem.cli.train", "from seqmem.train.trainer import train"),
        ("seqmem.config", "from seqmem.models import MODELS"),
        ("backends.tvm.kernels", "from seqmem.ops import reference"),
        ("backends.tvm.kernels", "from seqmem.ops.reference import attend"),
        ("backends.tvm.kernels", "from ..pytorch import kernels"),
        ("backends.tvm.kernels.attend", "from ...pytorch import band"),
        ("backends.tvm.kernels", "from seqmem.backends.pytorch import kernels"),
        ("backends.tvm.kernels", "from seqmem.layers import relative"),
    ],
)
def test_a_wrong_import_is_found(module: str, source: str):
    assert len(violations(source, module)) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("seqmem.cli.train", "def command():\n    import torch\n    from seqmem.train.trainer import train"),
        ("seqmem.cli.size", "if TYPE_CHECKING:\n    from torch import Tensor"),
        ("seqmem.cli.__init__", "from seqmem import __version__"),
        ("backends.tvm.kernels", "import tvm\nfrom . import compat\nfrom seqmem.ops import Band"),
        ("backends.tvm.kernels.attend", "from ..adapter import T"),
    ],
)
def test_a_right_import_passes(module: str, source: str):
    assert violations(source, module) == []

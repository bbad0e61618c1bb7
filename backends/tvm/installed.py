"""Which TVM is installed, found out without importing it: a start that finds its kernels compiled needs no tvm."""

import re
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution, version

from seqmem.ops.cache import checksum

PACKAGE = "apache-tvm"
FIRST, BELOW = (0, 27), (0, 28)
MEND = 'run: pip install "seqmem[tvm]"'


@cache
def unavailable() -> str | None:
    """Why kernels cannot be compiled here, with the command that mends it; None if they can."""
    found = _version(PACKAGE)
    if found is None and _version("tvm"):
        return f"the installed package 'tvm' is not Apache TVM; run: pip uninstall tvm, then {MEND}"
    if found is None:
        return f"package '{PACKAGE}' is not installed; {MEND}"
    if not FIRST <= tuple(int(part) for part in re.findall(r"\d+", found)[:2]) < BELOW:
        return f"{PACKAGE} {found} is installed, but {_dotted(FIRST)} <= version < {_dotted(BELOW)} is needed; {MEND}"
    if _version("tvm"):
        return (
            f"'{PACKAGE}' shares its folder with 'tvm', another project; run: pip uninstall tvm {PACKAGE}, then {MEND}"
        )
    return None


@cache
def build_id() -> str:
    """Names the installed build of TVM and thereby its LLVM: the checksum of its list of files, which has theirs."""
    return checksum(version(PACKAGE), distribution(PACKAGE).read_text("RECORD") or "")


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _dotted(parts: tuple[int, int]) -> str:
    return ".".join(map(str, parts))

"""Compare with public implementations: ``python tools/peers NAME``.

Peers live in one environment of their own in the user's cache, which sees this environment's packages behind its own,
so that torch is installed once. A comparison is a file beside this one, run by that environment's Python.
"""

import hashlib
import os
import site
import subprocess
import sys
from pathlib import Path

import click

HERE = Path(__file__).resolve().parent
REQUIREMENTS = ("transformers==4.30.2",)
COMPARISONS = sorted(path.stem for path in HERE.glob("*.py") if path.stem != "__main__")


def peers_python() -> Path:
    """The Python of the peers' environment, which is made on first use."""
    key = hashlib.sha256(repr((REQUIREMENTS, sys.prefix)).encode()).hexdigest()[:12]
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "seqmem" / "peers" / key
    python = cache / "bin" / "python"
    if not (cache / "ready").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(cache)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", *REQUIREMENTS], check=True)
        own = next((cache / "lib").glob("python*/site-packages"))
        (own / "shared.pth").write_text("\n".join([*site.getsitepackages(), str(HERE.parents[1])]))
        (cache / "ready").touch()
    return python


@click.command(help=f"Run one of the comparisons: {', '.join(COMPARISONS)}.")
@click.argument("name", type=click.Choice(COMPARISONS))
def main(name: str) -> None:
    sys.exit(subprocess.run([str(peers_python()), str(HERE / f"{name}.py")]).returncode)


main()

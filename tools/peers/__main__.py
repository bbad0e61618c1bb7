"""Compare with public implementations: ``python tools/peers NAME``.

A comparison is a file beside this one that ends by calling its ``main``, run by the peers' Python.
"""

import subprocess
import sys
from pathlib import Path

import click
from environment import peers_python

HERE = Path(__file__).resolve().parent
COMPARISONS = ["bigbird", "compressive", "import_hf", "longformer", "transformer_xl", "wavenet"]


@click.command(help=f"Run one of the comparisons: {', '.join(COMPARISONS)}.")
@click.argument("name", type=click.Choice(COMPARISONS))
def main(name: str) -> None:
    sys.exit(subprocess.run([str(peers_python()), str(HERE / f"{name}.py")]).returncode)


main()

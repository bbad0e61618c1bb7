"""Tune the tables of tiles that ship: ``python tools/tune tvm``, ``python tools/tune triton``.

Runs from the checkout, and each command imports only what its own backend needs.
"""

import sys
from pathlib import Path

import click
from triton_command import triton
from tvm_command import tvm

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))


@click.group()
def main() -> None:
    """Find the fastest tiles of kernels and put them in the table that ships."""


main.add_command(triton)
main.add_command(tvm)
main()

"""Tiles of the tvm kernels, for this machine's instruction set: ``python tools/tune tvm``."""

import json
import os
from functools import partial
from itertools import product
from pathlib import Path

import click

CAPABILITIES = {"avx512": "avx512", "avx2": "avx2", "generic": "default"}


@click.command()
@click.option("--isa", type=click.Choice([*CAPABILITIES, "neon"]), help="One that this machine has; its widest one.")
@click.option("--dtype", "dtypes", type=click.Choice(["float32", "float64"]), multiple=True, default=["float32"])
@click.option("--width", "widths", type=int, multiple=True, default=[32, 64, 128], show_default=True)
@click.option("--window", "windows", type=int, multiple=True, default=[64, 512, 2048], show_default=True)
@click.option("--length", default=4096, show_default=True)
@click.option("--table", type=click.Path(path_type=Path), help="Where to write, instead of backends/tvm/tuned.json.")
@click.option("--json", "as_json", is_flag=True, help="Print what was found as JSON.")
def tvm(
    isa: str | None,
    dtypes: tuple[str, ...],
    widths: tuple[int, ...],
    windows: tuple[int, ...],
    length: int,
    table: Path | None,
    as_json: bool,
) -> None:
    """Search tiles for causal attention, forward and backward, in every combination of the sizes given."""
    if isa in CAPABILITIES:
        os.environ["ATEN_CPU_CAPABILITY"] = CAPABILITIES[isa]  # read when torch is imported
    from search import search
    from seqmem.backends.tvm.spec import host_isa
    from seqmem.backends.tvm.tiles import TABLE, UNTUNED
    from table import merge
    from tvm_candidates import Key, cache_blocks, register_tiles
    from tvm_timing import turns_of

    if isa not in (None, host_isa()):
        raise click.UsageError(f"this machine has no {isa}; it has {host_isa()}")
    isa = host_isa()
    found = []
    for dtype, width, window in product(dtypes, widths, windows):
        key = Key(isa, dtype, width, window)
        kinds = partial(register_tiles, key=key), partial(cache_blocks, key=key)
        tiles, gain = search(UNTUNED[isa], kinds, turns_of(key, length))
        merge(table or TABLE, key, tiles)  # after every search, so that nothing is lost to Ctrl-C
        found.append(vars(key) | {"tiles": vars(tiles), "times_untuned": gain})
        if not as_json:
            click.echo(f"{isa} {dtype} width {width:>3} window {window:>4}: {tiles}, {gain:.2f} x untuned")
    if as_json:
        click.echo(json.dumps(found, indent=2))

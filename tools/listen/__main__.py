"""Listen to a generated sound: ``python tools/listen x.wav``; pitches, onsets, and how much of it training had."""

import json
from dataclasses import asdict
from pathlib import Path

import click
import numpy as np
import soundfile
from hearing import closest_copy, onsets, scale_pitches, strongest_partial

from seqmem.data.synthesiser import SCALE, recordings


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--corpus", default="plucked-strings", show_default=True, help="Built-in corpus it may have copied from.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def main(file: Path, corpus: str, as_json: bool) -> None:
    """Pitches of the scale, onsets, the strongest partial, and the stretch most like one of the training split."""
    sound, rate = soundfile.read(file, always_2d=True)
    sound = sound.mean(1)
    pitches = scale_pitches(sound, rate, SCALE)
    begins = onsets(sound, rate)
    hertz, share = strongest_partial(sound, rate)
    copy = closest_copy(sound, recordings(corpus, rate)["train"], rate)
    if as_json:
        found = {
            "seconds": len(sound) / rate,
            "pitches": {f"{SCALE[index]:.1f}": count for index, count in sorted(pitches.items())},
            "onsets": np.round(begins, 3).tolist(),
            "strongest_partial": {"hertz": hertz, "share": share},
            "closest_copy": asdict(copy),
        }
        click.echo(json.dumps(found, indent=2))
        return
    each = ", ".join(f"{SCALE[index]:.0f} Hz in {count} frames" for index, count in sorted(pitches.items()))
    click.echo(f"sound       {len(sound) / rate:.1f} s at {rate:,} samples/s")
    click.echo(f"pitches     {len(pitches)} of the scale: {each}")
    click.echo(f"onsets      {len(begins)}, {len(begins) / (len(sound) / rate):.1f} a second")
    click.echo(f"partial     {share:.1%} of the energy within 10 Hz of {hertz:.1f} Hz")
    click.echo(f"training    at {copy.at:.2f} s as at {copy.source_at:.2f} s of it, correlation {copy.likeness:.2f}")


main()

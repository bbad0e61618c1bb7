"""One sound file as samples, such as a prompt."""

from pathlib import Path

import numpy as np

from seqmem.data.audio_files import BadFileError, open_sound
from seqmem.data.resample import resampled
from seqmem.data.samples import to_int16
from seqmem.errors import SeqmemError


def read_sound(path: Path, sample_rate: int) -> np.ndarray:
    """The mean of all channels at ``sample_rate``, ``[N]`` int16, of any file that soundfile reads.

    Raises:
        SeqmemError: the file cannot be read, or a package that it takes is missing.
    """
    try:
        with open_sound(path) as sound:
            mono = (block.mean(axis=1) for block in sound.blocks())
            return np.concatenate([to_int16(block) for block in resampled(mono, sound.sample_rate, sample_rate)])
    except BadFileError as error:
        raise SeqmemError(f"sound '{path}': {error.reason} ({error.detail}); name a WAV, FLAC or OGG file") from None

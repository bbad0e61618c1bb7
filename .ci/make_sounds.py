"""Write a few seconds of quiet tones, three WAV files, into the folder named on the command line."""

import sys
from pathlib import Path

import numpy as np
import soundfile

RATE = 16000

folder = Path(sys.argv[1])
folder.mkdir()
times = np.arange(2 * RATE) / RATE
for name, pitch in {"a": 220.0, "e": 330.0, "high-a": 440.0}.items():
    soundfile.write(folder / f"{name}.wav", 0.3 * np.sin(2 * np.pi * pitch * times), RATE)

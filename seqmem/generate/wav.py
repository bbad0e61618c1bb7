"""WAV files that can be played at any moment while they grow: 16 bits, mono."""

import struct
import wave
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from seqmem.errors import SeqmemError

HEADER = struct.Struct("<4sI4s 4sIHHIIHH 4sI")
PCM = 1
BYTES = 2  # a sample
MAX_SAMPLES = ((1 << 32) - HEADER.size) // BYTES - 1  # sizes in the header are 32-bit counts of bytes


class WavWriter:
    """A new file at ``path``, in place of what is there.

    Samples reach the file before the header that counts them, and the header is one write. So whoever reads the file,
    also after the process was killed at any point, finds the sound as it was after one of the calls.
    """

    def __init__(self, path: Path, sample_rate: int):
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._sample_rate = sample_rate
        self._num_samples = 0
        self._file = path.open("wb")
        self._write_header()

    def append(self, samples: np.ndarray) -> None:
        """Add ``samples [N]`` int16."""
        if self._num_samples + len(samples) > MAX_SAMPLES:
            raise SeqmemError(f"{self._path}: a WAV file holds 4 GB at most; ask for fewer seconds")
        self._file.seek(HEADER.size + BYTES * self._num_samples)
        self._file.write(samples.astype("<i2").tobytes())
        self._file.flush()
        self._num_samples += len(samples)
        self._write_header()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def _write_header(self) -> None:
        size, rate = BYTES * self._num_samples, self._sample_rate
        form = (b"fmt ", 16, PCM, 1, rate, BYTES * rate, BYTES, 8 * BYTES)
        self._file.seek(0)
        self._file.write(HEADER.pack(b"RIFF", HEADER.size - 8 + size, b"WAVE", *form, b"data", size))
        self._file.flush()


def stream_to_wav(blocks: Iterable[np.ndarray], paths: Sequence[Path], sample_rate: int) -> Iterator[int]:
    """Append row i of every block ``[B, N]`` int16 to a new file ``paths[i]`` as it comes; yield its N."""
    with ExitStack() as stack:
        writers = [stack.enter_context(WavWriter(path, sample_rate)) for path in paths]
        for block in blocks:
            for writer, samples in zip(writers, block, strict=True):
                writer.append(samples)
            yield block.shape[1]


def read_wav(path: Path) -> np.ndarray:
    """The samples ``[N]`` int16 of a file that :class:`WavWriter` wrote."""
    with wave.open(str(path), "rb") as file:
        return np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(np.int16)

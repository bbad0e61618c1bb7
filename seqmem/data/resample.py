"""From one sample rate to another, block by block: the same as the whole at once, in bounded memory."""

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from functools import cache
from typing import Any

import numpy as np

from seqmem.errors import SeqmemError

MAX_TERM = 1000
STEP_SAMPLES = 1 << 17
"""Of the higher rate, at a time."""
# torchaudio's windowed sinc with these settings is as good as the best of other libraries.
FILTER = {
    "resampling_method": "sinc_interp_kaiser",
    "lowpass_filter_width": 64,
    "rolloff": 0.9475937167399596,
    "beta": 14.769656459379492,
}


def resampled(blocks: Iterable[np.ndarray], old_rate: int, new_rate: int) -> Iterator[np.ndarray]:
    """Blocks ``[n]`` float32 at ``old_rate`` -> blocks at ``new_rate``, ``ceil(N * new_rate / old_rate)`` in all.

    Rates whose ratio needs numbers above a thousand are taken at the nearest ratio that does not, which between usual
    rates is off by less than one part in a hundred thousand.

    Raises:
        SeqmemError: the rates differ, and torchaudio is missing or does not work with this torch.
    """
    old, new = _terms(old_rate, new_rate)
    if old == new:
        yield from blocks
        return
    import torch

    transform = _transform(old, new)
    margin = math.ceil(transform.width / old + 1) * old  # samples either side that the middle of a window depends on
    step = max(1, STEP_SAMPLES // max(old, new)) * old
    num_read = num_written = 0
    for window in _windows(blocks, margin, step):
        num_read += len(window) - 2 * margin
        with _one_thread(), torch.inference_mode():
            out = transform(torch.from_numpy(window)).numpy()
        num_wanted = -(-num_read * new // old) - num_written
        num_written += num_wanted
        yield out[margin // old * new :][:num_wanted]


def _windows(blocks: Iterable[np.ndarray], margin: int, step: int) -> Iterator[np.ndarray]:
    """``step`` samples at a time, the last time fewer, with ``margin`` either side; silence surrounds the whole."""
    pending = np.zeros(margin, np.float32)
    for block in blocks:
        pending = np.concatenate([pending, block])
        while len(pending) >= 2 * margin + step:
            yield pending[: 2 * margin + step]
            pending = pending[step:]
    pending = np.concatenate([pending, np.zeros(margin, np.float32)])
    while len(pending) > 2 * margin:
        yield pending[: 2 * margin + step]
        pending = pending[step:]


def _terms(old_rate: int, new_rate: int) -> tuple[int, int]:
    """The ratio of the rates in small whole numbers."""
    ratio = Fraction(min(old_rate, new_rate), max(old_rate, new_rate)).limit_denominator(MAX_TERM)
    small, large = ratio.numerator, ratio.denominator
    return (small, large) if old_rate < new_rate else (large, small)


@contextmanager
def _one_thread() -> Iterator[None]:
    """One a process is fastest where there are several processes, and adds up in the same order everywhere."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@cache
def _transform(old: int, new: int) -> Any:
    try:
        from torchaudio.transforms import Resample
    except (ImportError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise SeqmemError(
            f'changing sample rates needs torchaudio ({reason}); run: pip install "seqmem[audio]"'
        ) from None
    return Resample(old, new, **FILTER)

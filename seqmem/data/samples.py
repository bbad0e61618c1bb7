"""16-bit samples, as files and stores of sounds have them, and the real numbers they stand for."""

import numpy as np

FULL_SCALE = 32768


def to_int16(values: np.ndarray) -> np.ndarray:
    """Numbers in [-1, 1] to the nearest samples; what lies beyond is clipped."""
    return np.clip(np.rint(values * FULL_SCALE), -FULL_SCALE, FULL_SCALE - 1).astype(np.int16)


def to_float(samples: np.ndarray) -> np.ndarray:
    """Samples to float32 numbers in [-1, 1), exactly."""
    return samples.astype(np.float32) / FULL_SCALE

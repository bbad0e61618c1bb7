"""Sounds that come with the installation, made from seeds: tunes on plucked strings, and a steady sine."""

from collections.abc import Callable

import numpy as np
from numpy.polynomial.polynomial import polyval

from seqmem.data.corpus import SPLITS

# G3 A3 C4 D4 E4 G4 A4 C5: C major pentatonic in equal temperament, in Hz.
SCALE = 440 * 2 ** (np.array([-14, -12, -9, -7, -5, -2, 0, 3]) / 12)
SINE_HERTZ = 440.0

NUM_TUNES = {"train": 60, "validation": 4, "test": 4}
SINE_SECONDS = {"train": 60, "validation": 5, "test": 5}
PHRASE_BEATS = 16
MAX_PARTIALS = 10
ATTACK_SECONDS = 0.012
DAMPING_SECONDS = 0.01

Recordings = dict[str, list[np.ndarray]]


def recordings(name: str, sample_rate: int) -> Recordings:
    """The recordings of corpus ``name`` by split, each ``[N]`` float32 in [-1, 1]; always the same.

    ``plucked-strings``: tunes of the form AABA, a dozen seconds each; a phrase that comes back has the same notes,
    plucked anew. ``sine``: the note A4, at one loudness.
    """
    return _CORPORA[name](sample_rate)


def _plucked_strings(sample_rate: int) -> Recordings:
    return {
        split: [_tune(np.random.default_rng([seed, number]), sample_rate) for number in range(NUM_TUNES[split])]
        for seed, split in enumerate(SPLITS)
    }


def _sine(sample_rate: int) -> Recordings:
    return {split: [_steady(SINE_SECONDS[split], sample_rate)] for split in SPLITS}


_CORPORA: dict[str, Callable[[int], Recordings]] = {"plucked-strings": _plucked_strings, "sine": _sine}


def _steady(seconds: int, sample_rate: int) -> np.ndarray:
    turns = SINE_HERTZ / sample_rate * np.arange(seconds * sample_rate)
    return (0.5 * np.sin(2 * np.pi * turns)).astype(np.float32)


def _tune(rng: np.random.Generator, sample_rate: int) -> np.ndarray:
    """Two phrases in the order AABA, at a tempo of its own."""
    a, b = _phrase(rng), _phrase(rng)
    beat = rng.uniform(0.15, 0.21)
    notes = [*a, *a, *b, *a]
    return np.concatenate([_string(rng, SCALE[step], beats * beat, sample_rate) for step, beats in notes])


def _phrase(rng: np.random.Generator) -> list[tuple[int, int]]:
    """Notes as (index into SCALE, beats): a walk up and down the scale by one or two steps."""
    notes: list[tuple[int, int]] = []
    step, left = int(rng.integers(len(SCALE))), PHRASE_BEATS
    while left:
        beats = min(left, int(rng.choice([1, 1, 2])))
        notes.append((step, beats))
        left -= beats
        within = [step + stride for stride in (-2, -1, 1, 2) if 0 <= step + stride < len(SCALE)]
        step = int(rng.choice(within))
    return notes


def _string(rng: np.random.Generator, hertz: float, seconds: float, sample_rate: int) -> np.ndarray:
    """A string plucked softly at a random place, and damped after ``seconds``.

    Plucked at the share p of its length, an ideal string has partial k with amplitude sin(k pi p) / k^2 (Rayleigh,
    The Theory of Sound, 1877, 133); what is heard is nearer its velocity, sin(k pi p) / k. High partials die first.
    """
    t = np.arange(round(seconds * sample_rate)) / sample_rate
    k = np.arange(MAX_PARTIALS + 1)
    amplitudes = np.sin(k * np.pi * rng.uniform(0.1, 0.4)) / np.maximum(k, 1)
    audible = np.where(k * hertz < 0.45 * sample_rate, amplitudes, 0)
    partials = polyval(np.exp((-1.2 + 2j * np.pi * hertz) * t), audible).imag  # z^k is partial k
    loudness = rng.uniform(0.5, 0.9) / np.abs(amplitudes).sum()
    attack = np.minimum(1, t / ATTACK_SECONDS) ** 2
    damping = np.minimum(1, t[::-1] / DAMPING_SECONDS)
    return (loudness * attack * damping * np.exp(-4 * t) * partials).astype(np.float32)

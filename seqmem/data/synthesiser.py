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
HISS = 0.003
CRACKLES_A_SECOND = 4
MAX_PARTIALS = 8
ATTACK_SECONDS = 0.004
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
    """Two phrases in the order AABA, at a tempo of its own, which the player keeps within 3 %."""
    a, b = _phrase(rng), _phrase(rng)
    beat = rng.uniform(0.15, 0.21)
    notes = [*a, *a, *b, *a]
    seconds = [beats * beat * rng.uniform(0.97, 1.03) for _, beats in notes]
    strings = zip(notes, seconds, strict=True)
    tune = np.concatenate([_string(rng, SCALE[step], length, sample_rate) for (step, _), length in strings])
    return (tune + _old_record(rng, len(tune), sample_rate)).clip(-1, 1).astype(np.float32)


def _phrase(rng: np.random.Generator) -> list[tuple[int, int]]:
    """Notes as (index into SCALE, beats): a walk up and down the scale by one to three steps."""
    notes: list[tuple[int, int]] = []
    step, left = int(rng.integers(len(SCALE))), PHRASE_BEATS
    while left:
        beats = min(left, int(rng.choice([1, 1, 2])))
        notes.append((step, beats))
        left -= beats
        within = [step + stride for stride in (-3, -2, -1, 1, 2, 3) if 0 <= step + stride < len(SCALE)]
        step = int(rng.choice(within))
    return notes


def _string(rng: np.random.Generator, hertz: float, seconds: float, sample_rate: int) -> np.ndarray:
    """A string plucked at about a quarter of its length, and damped after ``seconds``.

    Plucked at the share p of its length, an ideal string has partial k with amplitude sin(k pi p) / k^2 (Rayleigh,
    The Theory of Sound, 1877, 133); what is heard is nearer its velocity, sin(k pi p) / k. High partials die first.
    """
    t = np.arange(round(seconds * sample_rate)) / sample_rate
    k = np.arange(MAX_PARTIALS + 1)
    amplitudes = np.sin(k * np.pi * rng.uniform(0.2, 0.3)) / np.maximum(k, 1)
    audible = np.where(k * hertz < 0.45 * sample_rate, amplitudes, 0)
    sound = polyval(np.exp((2j * np.pi * hertz - 2.5) * t), audible).imag * np.exp(-3 * t)  # z^k is partial k
    envelope = np.minimum(1, np.minimum(t / ATTACK_SECONDS, t[::-1] / DAMPING_SECONDS))
    return rng.uniform(0.4, 0.6) / np.abs(amplitudes).max() * envelope * sound


def _old_record(rng: np.random.Generator, num_samples: int, sample_rate: int) -> np.ndarray:
    """Hiss, and crackles of every colour.

    From them a model learns to come back to the tune from anywhere, as it must when it has drawn unlikely samples.
    """
    noise = HISS * rng.standard_normal(num_samples)
    t = np.arange(sample_rate // 20) / sample_rate
    for start in np.flatnonzero(rng.random(num_samples - len(t)) < CRACKLES_A_SECOND / sample_rate):
        width = int(rng.integers(1, 24))
        colour = np.convolve(rng.standard_normal(len(t) + width - 1), np.full(width, width**-0.5), "valid")
        noise[start : start + len(t)] += rng.uniform(0, 0.3) * np.exp(-t / rng.uniform(0.002, 0.012)) * colour
    return noise

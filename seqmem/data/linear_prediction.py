"""What a waveform costs without a neural network: the figures that a model of it has to beat."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from seqmem.data.codec import FULL_SCALE, Codec

ORDER = 16
MAX_LEVELS = 1024
BLOCK_LEN = 1 << 16
MAX_BLOCKS = 64  # 4 million samples, from all over a split
FRAMES_A_SECOND = 100
FRAMES_BACK = 4
RIDGE = 1e-3


@dataclass(frozen=True)
class Baselines:
    """Bits a sample of held-out sound, each by what was counted on training sound.

    Attributes:
        marginal: every sample on its own, by how often its level occurs.
        fixed: of its level given the level that a linear predictor of order 16 expects, with weights fitted once.
        adaptive: the same, the weights fitted anew every 10 ms to the 40 ms before.
    """

    marginal: float
    fixed: float
    adaptive: float

    def __str__(self) -> str:
        return (
            f"{self.marginal:.3f} bits/sample by how often levels occur; given 16th-order linear prediction "
            f"{self.fixed:.3f}, adapting every 10 ms {self.adaptive:.3f}"
        )


def baselines(train: np.ndarray, held_out: np.ndarray, starts: np.ndarray, codec: Codec) -> Baselines | None:
    """What ``held_out`` costs on the grid of ``codec``.

    The predictor reads decoded levels, as a model does, minimises the squared error relative to the loudness around
    (least squares), and its prediction is put on the grid. The level is then coded by its conditional distribution
    given the predicted level, counted on training sound and smoothed towards the distribution of their difference.

    Args:
        train, held_out: ``[N]`` int16 samples; long ones are measured on 64 evenly spaced blocks of 65,536.
        starts: where recordings of ``held_out`` begin; these samples are not scored.

    Returns:
        The figures; None for a codec of more than 1,024 levels, which are too many to count.
    """
    if codec.levels > MAX_LEVELS:
        return None
    fixed = _fit(train, codec)
    counts = {name: np.zeros((codec.levels, codec.levels)) for name in ("fixed", "adaptive")}
    for _, lags, levels in _blocks(train, codec):
        for name, predicted in _predictions(lags, fixed, codec).items():
            np.add.at(counts[name], (predicted, levels), 1)
    marginal = -np.log2(_normalised(counts["fixed"].sum(0) + 1))
    bits = {name: -np.log2(_conditional(count)) for name, count in counts.items()}
    totals, num_samples = dict.fromkeys(("marginal", *bits), 0.0), 0
    for begin, lags, levels in _blocks(held_out, codec):
        is_scored = ~np.isin(np.arange(begin, begin + len(levels)), starts)
        num_samples += int(is_scored.sum())
        totals["marginal"] += marginal[levels][is_scored].sum()
        for name, predicted in _predictions(lags, fixed, codec).items():
            totals[name] += bits[name][predicted, levels][is_scored].sum()
    return Baselines(**{name: float(total / num_samples) for name, total in totals.items()})


def _blocks(samples: np.ndarray, codec: Codec) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Evenly spaced blocks: where each begins, ``[n, ORDER + 1]`` decoded samples, the last the true one; its level."""
    begins = np.arange(0, len(samples), BLOCK_LEN)
    if len(begins) > MAX_BLOCKS:
        begins = begins[np.linspace(0, len(begins) - 1, MAX_BLOCKS).astype(int)]
    silence = np.zeros(ORDER, np.int16)
    for begin in begins.tolist():
        before = np.concatenate([silence, samples[max(0, begin - ORDER) : begin]])[-ORDER:]
        levels = codec.encode(np.concatenate([before, samples[begin : begin + BLOCK_LEN]]))
        values = codec.decode(levels) / FULL_SCALE
        yield begin, np.lib.stride_tricks.sliding_window_view(values, ORDER + 1), levels[ORDER:].astype(int)


def _relative(lags: np.ndarray) -> np.ndarray:
    """``lags`` by the loudness of the samples before; the floor is the first level of mu-law beside silence."""
    return lags / (np.abs(lags[:, :-1]).mean(1, keepdims=True) + 1 / 256)


def _fit(samples: np.ndarray, codec: Codec) -> np.ndarray:
    """The weights ``[ORDER]`` that predict training sound best."""
    products = np.zeros((ORDER + 1, ORDER + 1))
    for _, lags, _ in _blocks(samples, codec):
        rows = _relative(lags)
        products += rows.T @ rows
    return _solved(products[None], np.zeros(ORDER))[0]


def _solved(products: np.ndarray, towards: np.ndarray) -> np.ndarray:
    """Least squares from sums of products ``[F, ORDER + 1, ORDER + 1]``, held a little to the weights ``towards``."""
    squares, with_truth = products[:, :-1, :-1], products[:, :-1, -1]
    ridge = (RIDGE * np.trace(squares, axis1=1, axis2=2) / ORDER + 1e-9)[:, None]
    return np.linalg.solve(squares + ridge[..., None] * np.eye(ORDER), (with_truth + ridge * towards)[..., None])[
        ..., 0
    ]


def _predictions(lags: np.ndarray, fixed: np.ndarray, codec: Codec) -> dict[str, np.ndarray]:
    """The level ``[n]`` that each predictor expects."""
    frame_len = max(1, codec.sample_rate // FRAMES_A_SECOND)
    num_frames = -(-len(lags) // frame_len)
    rows = np.zeros((num_frames * frame_len, ORDER + 1))
    rows[: len(lags)] = _relative(lags)
    frames = rows.reshape(num_frames, frame_len, ORDER + 1)
    sums = np.concatenate([np.zeros((1, ORDER + 1, ORDER + 1)), (frames.transpose(0, 2, 1) @ frames).cumsum(0)])
    places = np.arange(num_frames)
    weights = _solved(sums[places] - sums[np.maximum(0, places - FRAMES_BACK)], fixed)
    each = np.repeat(weights, frame_len, axis=0)[: len(lags)]
    values = {"fixed": lags[:, :-1] @ fixed, "adaptive": np.einsum("no,no->n", lags[:, :-1], each)}
    return {name: _on_grid(value, codec) for name, value in values.items()}


def _on_grid(values: np.ndarray, codec: Codec) -> np.ndarray:
    samples = np.clip(np.round(values * FULL_SCALE), -FULL_SCALE, FULL_SCALE - 1)
    return codec.encode(samples.astype(np.int16)).astype(int)


def _normalised(counts: np.ndarray) -> np.ndarray:
    return counts / counts.sum(-1, keepdims=True)


def _conditional(counts: np.ndarray) -> np.ndarray:
    """Distribution of the level given the predicted one ``[L, L]`` from how often they met.

    Smoothed towards that of their difference, the more the more kinds of level follow on few occasions (Witten and
    Bell 1991, method C).
    """
    num_levels = len(counts)
    predicted, level = np.indices(counts.shape)
    by_difference = np.bincount((level - predicted + num_levels).ravel(), counts.ravel(), 2 * num_levels) + 0.1
    prior = _normalised(by_difference[level - predicted + num_levels])
    num_kinds = np.maximum(1, (counts > 0).sum(1, keepdims=True))
    return _normalised(counts + num_kinds * prior)

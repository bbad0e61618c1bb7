"""Contiguous token streams: memory carried from one segment to the next always meets its own continuation."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from seqmem.data.vocabulary import TokenArray
from seqmem.errors import SeqmemError


class TokenStream:
    """Endless training segments, cut from one array of documents laid end to end.

    The array is read as a ring by ``batch_size`` readers that start evenly spaced and never jump: a reader that comes
    to its neighbour's start reads on, and one that comes to the end of the array goes on at its beginning. Memory thus
    simply carries on from epoch to epoch; BOS tells the model where a document begins.

    Args:
        tokens: ``[N]`` integer ids.
        batch_size: number of readers B.
        segment_len: tokens T of a segment.

    Raises:
        SeqmemError: fewer tokens than readers.
    """

    def __init__(self, tokens: TokenArray, batch_size: int, segment_len: int):
        if len(tokens) < batch_size:
            raise SeqmemError(
                f"train.batch_size = {batch_size}: the training split has only {len(tokens)} tokens; lower it"
            )
        self.cursor = 0  # tokens read so far by each reader; all there is to save
        self._tokens = tokens
        self._starts = np.arange(batch_size) * (len(tokens) // batch_size)
        self._segment_len = segment_len

    def next(self) -> tuple[Tensor, Tensor]:
        """Inputs and targets ``[B, T]`` int64 of the next segment; targets are the inputs one token later."""
        offsets = self.cursor + np.arange(self._segment_len + 1)
        window = _int64(self._tokens[(self._starts[:, None] + offsets) % len(self._tokens)])
        self.cursor += self._segment_len
        return window[:, :-1], window[:, 1:]


def evaluation_segments(
    tokens: TokenArray, batch_size: int, segment_len: int, bos_id: int, starts: np.ndarray | None = None
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Go through ``tokens [N]`` once, in order, in ``batch_size`` contiguous rows; only a segment is copied.

    Every token but the first is a target exactly once. A document's BOS is read but not scored: it stands for nothing.

    Args:
        tokens: every document begun by BOS.
        bos_id: of every document, and of what fills rows up.
        starts: the places of BOS, sorted, where its id is another token's as well; otherwise it is known by its id.

    Yields:
        inputs, targets ``[B, T]`` int64 and scored ``[B, T]`` bool. T is ``segment_len``, less in the last segment;
        rows that end early are filled with unscored BOS.
    """
    row_len = -(-(len(tokens) - 1) // batch_size)
    row_starts = np.arange(batch_size)[:, None] * row_len
    for start in range(0, row_len, segment_len):
        places = row_starts + np.arange(start, min(start + segment_len, row_len) + 1)
        here = tokens[np.minimum(places, len(tokens) - 1)]
        window = _int64(np.where(places < len(tokens), here, bos_id))
        inputs, targets = window[:, :-1], window[:, 1:]
        yield inputs, targets, targets != bos_id if starts is None else _scored(places[:, 1:], starts, len(tokens))


def overlapping_windows(
    tokens: TokenArray, batch_size: int, context: int, stride: int, bos_id: int, starts: np.ndarray | None = None
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Windows of ``context`` targets, each ``stride`` after the one before, of which only what is new is scored.

    Every token but the first is scored exactly once, and all but the first ``context`` after at least
    ``context - stride`` others.

    Args:
        batch_size: windows side by side.
        bos_id, starts: as in :func:`evaluation_segments`.

    Yields:
        inputs, targets ``[B, T]`` int64 and scored ``[B, T]`` bool; B is less in the last ones.
    """
    num_targets = len(tokens) - 1
    length = min(context, num_targets)
    num_windows = 1 - (length - num_targets) // stride
    for first in range(0, num_windows, batch_size):
        index = np.arange(first, min(first + batch_size, num_windows))
        ends = np.minimum(length + index * stride, num_targets)
        scored_before = np.where(index > 0, length + (index - 1) * stride, 0)
        places = ends[:, None] - length + np.arange(length + 1)
        window = _int64(tokens[places])
        targets = window[:, 1:]
        is_text = targets != bos_id if starts is None else _scored(places[:, 1:], starts, len(tokens))
        yield window[:, :-1], targets, is_text & torch.from_numpy(places[:, 1:] > scored_before[:, None])


def _scored(places: np.ndarray, starts: np.ndarray, num_tokens: int) -> Tensor:
    nearest = starts[np.minimum(np.searchsorted(starts, places), len(starts) - 1)]
    return torch.from_numpy((places != nearest) & (places < num_tokens))


def _int64(tokens: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(tokens, dtype=np.int64))

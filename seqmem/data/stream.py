"""Contiguous token streams: memory carried from one segment to the next always meets its own continuation."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from seqmem.data.documents import FILLING, Laid
from seqmem.errors import SeqmemError


class Segment(NamedTuple):
    """What is read of every row at a time.

    Args:
        inputs, targets: ``[B, T]`` int64; targets are the inputs one token later.
        scored: ``[B, T]`` bool, which targets count.
        begins: ``[B]`` bool, rows whose first input begins a document.
    """

    inputs: Tensor
    targets: Tensor
    scored: Tensor
    begins: Tensor


class TokenStream:
    """Endless training segments, cut from documents laid end to end.

    They are read as a ring by ``batch_size`` readers that start evenly spaced and never jump: a reader that comes to
    its neighbour's start reads on, and one that comes to the end goes on at the beginning, from epoch to epoch. What
    follows a document's last token is its target, BOS as it is; after filling nothing is one.

    Args:
        laid: with each document's beginning where memory may be emptied, if it is to be.
        batch_size: number of readers B.
        segment_len: tokens T of a segment.
        rank, world_size: of ``world_size * batch_size`` readers, these are the ``rank``-th ``batch_size``.

    Raises:
        SeqmemError: fewer places to start at than readers.
    """

    def __init__(self, laid: Laid, batch_size: int, segment_len: int, *, rank: int = 0, world_size: int = 1):
        num_readers = world_size * batch_size
        if len(laid) < num_readers * laid.multiple:
            what = "tokens" if laid.multiple == 1 else "places to start at"
            raise SeqmemError(
                f"train.batch_size = {batch_size}: the training split has only {len(laid) // laid.multiple} {what}; "
                "lower it"
            )
        self.cursor = 0  # places read so far by each reader; all there is to save
        self.period, self.batch_size, self.filling = laid.multiple, batch_size, laid.filling
        self._laid = laid
        readers = np.arange(rank * batch_size, (rank + 1) * batch_size)
        self._starts = readers * (len(laid) // laid.multiple // num_readers) * laid.multiple
        self._segment_len = segment_len

    def next(self) -> Segment:
        """The next segment of every reader."""
        offsets = self.cursor + np.arange(self._segment_len + 1)
        places = (self._starts[:, None] + offsets) % len(self._laid)
        source = self._laid.source(places)
        window = torch.from_numpy(self._laid.documents.read(source))
        self.cursor += self._segment_len
        return Segment(
            window[:, :-1],
            window[:, 1:],
            torch.from_numpy(source[:, :-1] != FILLING),
            torch.from_numpy(self._laid.is_begin(places[:, 0])),
        )

"""Sounds as token arrays: the samples stay on disk as 16-bit integers and become tokens where they are read."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np

from seqmem.config import DataConfig
from seqmem.data.atomic import atomic_folder
from seqmem.data.audio_store import AudioStore, is_store
from seqmem.data.codec import Codec
from seqmem.data.linear_prediction import Baselines, baselines
from seqmem.data.sounds import load_sounds
from seqmem.errors import SeqmemError

FILE_NAME = "audio.json"


class EncodedSamples:
    """Samples ``[N]`` int16 read as an array of ``N * tokens_a_sample`` token ids.

    Indices are those of tokens: a slice, or an integer array of any shape.
    """

    def __init__(self, samples: np.ndarray, codec: Codec):
        self._samples = samples
        self._codec = codec

    def __len__(self) -> int:
        return len(self._samples) * self._codec.tokens_a_sample

    def __getitem__(self, places: slice | np.ndarray) -> np.ndarray:
        if isinstance(places, slice):
            places = np.arange(*places.indices(len(self)))
        size = self._codec.tokens_a_sample
        tokens = self._codec.encode(self._samples[places // size].reshape(-1)).reshape(*places.shape, size)
        return np.take_along_axis(tokens, (places % size)[..., None], -1)[..., 0]


@dataclass(frozen=True)
class AudioCorpus:
    """A store of sounds read through a codec; the counterpart of :class:`seqmem.data.tokens.TokenizedCorpus`.

    Attributes:
        splits: token ids by split.
    """

    name: str
    note: str
    splits: dict[str, EncodedSamples]
    store: AudioStore
    codec: Codec

    @classmethod
    def build(cls, store: AudioStore, codec: Codec) -> Self:
        """Read every split of ``store`` through ``codec``.

        Raises:
            SeqmemError: the store has another sample rate.
        """
        if store.sample_rate != codec.sample_rate:
            raise SeqmemError(
                f"{store.folder}: its sounds have {store.sample_rate} samples a second, the codec {codec.sample_rate}; "
                f"set codec.sample_rate = {store.sample_rate} or prepare them anew"
            )
        splits = {split: EncodedSamples(samples, codec) for split, samples in store.samples.items()}
        return cls(store.folder.name, store.note, splits, store, codec)

    def document_starts(self, split: str) -> np.ndarray:
        """The places where recordings begin, sorted: ``[recordings]``."""
        return self.store.starts[split] * self.codec.tokens_a_sample

    def baselines(self, split: str) -> Baselines | None:
        """What the sounds of a split cost without a neural network, counted on the training split."""
        samples, starts = self.store.samples, self.store.starts
        return baselines(samples["train"], samples[split], starts[split], self.codec)

    def tokens_per_unit(self, split: str) -> float:
        """Tokens for each sample."""
        return self.codec.tokens_a_sample

    def save(self, folder: Path) -> None:
        """Write into ``folder`` where the sounds are, replacing what is there."""
        with atomic_folder(folder) as partial:
            about = {"store": str(self.store.folder.absolute()), "digest": self.store.digest}
            (partial / FILE_NAME).write_text(json.dumps(about, indent=2) + "\n")

    @classmethod
    def load(cls, folder: Path, codec: Codec, data: DataConfig) -> Self:
        """Find again what :meth:`save` wrote; a store that is gone is made anew from ``data``.

        Raises:
            SeqmemError: the store holds other sounds now, or is gone and cannot be made.
        """
        about = json.loads((folder / FILE_NAME).read_text())
        place = Path(about["store"])
        store = AudioStore.open(place) if is_store(place) else load_sounds(data, codec.sample_rate)
        if store.digest != about["digest"]:
            raise SeqmemError(f"{store.folder}: holds other sounds than when the run began; begin a new run")
        return cls.build(store, codec)

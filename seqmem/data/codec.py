"""Waveforms <-> tokens. The one place that knows how; a checkpoint keeps the codec, and generation reads it there.

Samples are 16-bit integers, as files and the store have them: -32768 ... 32767 for -1 ... 1.
"""

import hashlib
from pathlib import Path

import numpy as np

from seqmem.config import CodecConfig
from seqmem.data.vocabulary import TokenArray, Vocabulary
from seqmem.errors import SeqmemError

FILE_NAME = "codec.json"
FULL_SCALE = 32768


class Codec(Vocabulary):
    """Samples to tokens and back.

    With L levels, ``q`` a level and ``x`` in [-1, 1]:

    - ``mu-law`` (mu = L - 1): ``f = sign(x) ln(1 + mu |x|) / ln(1 + mu)``, ``q = floor((f + 1) / 2 * mu + 1/2)``;
      back by the inverse of f at ``2 q / mu - 1`` (ITU-T G.711 without its segments; van den Oord et al. 2016, 2.2).
    - ``linear``: the same with ``f = x``.
    - ``two-byte``: ``q = x + 32768`` of the 16-bit sample, its high byte as id ``q >> 8``, its low byte as id
      ``256 + (q & 255)``.
    - ``logistic-mixture``: ``q`` itself is the id.

    Encoding what was decoded gives back every token. The start token is that of silence.

    Attributes:
        tokens_a_sample: 2 for ``two-byte``, else 1.
        levels: L, of a sample.
        sample_rate: samples a second.
    """

    unit = "sample"

    def __init__(self, config: CodecConfig):
        self.config = config
        self.sample_rate = config.sample_rate
        is_companded = config.kind in ("mu-law", "linear")
        self.levels = config.levels if is_companded else 1 << 16
        self.tokens_a_sample = config.tokens_a_sample
        self.vocab_size = config.vocab_size
        self.hash = hashlib.sha256(config.model_dump_json().encode()).hexdigest()[:16]
        self._decoded = self._levels_decoded()
        self._encoded = self._samples_encoded()
        self.bos_ids = tuple(self.encode(np.zeros(1, np.int16)).tolist())

    def encode(self, samples: np.ndarray) -> np.ndarray:
        """``[N]`` int16 -> ``[N * tokens_a_sample]`` ids, uint16."""
        levels = self._encoded[samples.astype(np.int32) + FULL_SCALE]
        if self.tokens_a_sample == 1:
            return levels
        return np.stack([levels >> 8, 256 + (levels & 255)], -1).reshape(-1).astype(np.uint16)

    def decode(self, tokens: np.ndarray) -> np.ndarray:
        """``[N * tokens_a_sample]`` ids -> ``[N]`` int16; the bytes of a sample in their order."""
        if self.tokens_a_sample == 2:
            coarse, fine = tokens.reshape(-1, 2).astype(np.int64).T
            tokens = (coarse << 8) + (fine & 255)
        return self._decoded[tokens]

    def tokens_per_unit(self, tokens: TokenArray) -> float:
        return self.tokens_a_sample

    def describe(self) -> str:
        return f"{self.config.kind}, {self.levels:,} levels, {self.sample_rate:,} samples/s, {self.hash}"

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / FILE_NAME).write_text(self.config.model_dump_json(indent=2) + "\n")

    @classmethod
    def load(cls, folder: Path) -> "Codec":
        """Read what :meth:`save` wrote."""
        path = folder / FILE_NAME
        try:
            return cls(CodecConfig.model_validate_json(path.read_text()))
        except OSError:
            raise SeqmemError(f"{path}: no codec there; name the run or checkpoint of an audio recipe") from None
        except ValueError:
            raise SeqmemError(f"{path}: not a codec; restore the file from another checkpoint") from None

    def _levels_decoded(self) -> np.ndarray:
        """The sample of each level."""
        levels = np.arange(self.levels)
        if self.config.kind not in ("mu-law", "linear"):
            return (levels - FULL_SCALE).astype(np.int16)
        mu = self.levels - 1
        f = 2 * levels / mu - 1
        x = f if self.config.kind == "linear" else np.sign(f) * np.expm1(np.abs(f) * np.log1p(mu)) / mu
        return np.clip(np.round(x * FULL_SCALE), -FULL_SCALE, FULL_SCALE - 1).astype(np.int16)

    def _samples_encoded(self) -> np.ndarray:
        """The level of each of the 65,536 samples."""
        samples = np.arange(-FULL_SCALE, FULL_SCALE)
        if self.config.kind not in ("mu-law", "linear"):
            return (samples + FULL_SCALE).astype(np.uint16)
        mu = self.levels - 1
        x = samples / FULL_SCALE
        f = x if self.config.kind == "linear" else np.sign(x) * np.log1p(mu * np.abs(x)) / np.log1p(mu)
        return np.floor((f + 1) / 2 * mu + 0.5).astype(np.uint16)

"""Waveforms <-> tokens. The one place that knows how; a checkpoint keeps the codec, and generation reads it there.

Waveforms are 16-bit integers, as files and the store have them, or floats in [-1, 1].
"""

import hashlib
from pathlib import Path

import numpy as np

from seqmem.config import CodecConfig
from seqmem.data.samples import FULL_SCALE, to_float, to_int16
from seqmem.data.vocabulary import Vocabulary
from seqmem.errors import SeqmemError

FILE_NAME = "codec.json"


class Codec(Vocabulary):
    """Samples to tokens and back.

    With L levels, ``q`` a level and ``x`` in [-1, 1]:

    - ``mu-law`` (mu = L - 1): ``f = sign(x) ln(1 + mu |x|) / ln(1 + mu)``, ``q = floor((f + 1) / 2 * mu + 1/2)``;
      back by the inverse of f at ``2 q / mu - 1`` (ITU-T G.711 without its segments; van den Oord et al. 2016, 2.2).
    - ``linear``: the same with ``f = x``.
    - ``two-byte``: ``q`` is the 16-bit sample plus 32768, its high byte the id ``q >> 8``, its low byte the id
      ``256 + (q & 255)``.
    - ``logistic-mixture``: ``q`` itself is the id.

    -1, 0 and 1 have the first, the middle (``L // 2``) and the last level; the start token is that of 0. Encoding what
    :meth:`waveform` gives returns every token. What :meth:`decode` rounds to 16 bits does so too with up to 655 levels
    of mu-law; with more, the innermost come to the same 16-bit sample.

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
        self._waveform = self._expanded(np.arange(self.levels)).astype(np.float32)
        self._decoded = to_int16(self._waveform.astype(np.float64))
        self._encoded = self._quantised(to_float(np.arange(-FULL_SCALE, FULL_SCALE)))
        self.bos_ids = tuple(self.encode(np.zeros(1, np.int16)).tolist())

    def encode(self, samples: np.ndarray) -> np.ndarray:
        """``[N]`` int16, or floats, clipped to [-1, 1] -> ``[N * tokens_a_sample]`` ids, uint16."""
        is_float = np.issubdtype(samples.dtype, np.floating)
        levels = self._quantised(samples) if is_float else self._encoded[samples.astype(np.int32) + FULL_SCALE]
        if self.tokens_a_sample == 1:
            return levels
        return np.stack([levels >> 8, 256 + (levels & 255)], -1).reshape(-1)

    def decode(self, tokens: np.ndarray) -> np.ndarray:
        """``[N * tokens_a_sample]`` ids -> ``[N]`` int16; the bytes of a sample in their order."""
        return self._decoded[self._levels(tokens)]

    def waveform(self, tokens: np.ndarray) -> np.ndarray:
        """``[N * tokens_a_sample]`` ids -> ``[N]`` float32 in [-1, 1]: what the tokens mean before rounding."""
        return self._waveform[self._levels(tokens)]

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

    def _levels(self, tokens: np.ndarray) -> np.ndarray:
        if self.tokens_a_sample == 1:
            return tokens
        coarse, fine = tokens.reshape(-1, 2).astype(np.int64).T
        return (coarse << 8) + (fine & 255)

    def _expanded(self, levels: np.ndarray) -> np.ndarray:
        """The number in [-1, 1] that each level stands for."""
        if self.config.kind not in ("mu-law", "linear"):
            return (levels - FULL_SCALE) / FULL_SCALE
        mu = self.levels - 1
        f = 2 * levels / mu - 1
        return f if self.config.kind == "linear" else np.sign(f) * np.expm1(np.abs(f) * np.log1p(mu)) / mu

    def _quantised(self, values: np.ndarray) -> np.ndarray:
        """The level of each number, uint16."""
        x = np.clip(values.astype(np.float64), -1, 1)
        if self.config.kind not in ("mu-law", "linear"):
            return (to_int16(x).astype(np.int32) + FULL_SCALE).astype(np.uint16)
        mu = self.levels - 1
        f = x if self.config.kind == "linear" else np.sign(x) * np.log1p(mu * np.abs(x)) / np.log1p(mu)
        return np.floor((f + 1) / 2 * mu + 0.5).astype(np.uint16)

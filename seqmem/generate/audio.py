"""Sound from a model, block after block."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from seqmem.data.codec import Codec
from seqmem.generate.sampling import Sampler
from seqmem.generate.wav import stream_to_wav
from seqmem.models.base import CausalModel
from seqmem.state import State

PROMPT_PIECE = 4096  # tokens of the prompt that are read at once, which bounds memory
BLOCKS_A_SECOND = 4


class AudioGenerator:
    """Streams that go on from the same prompt, each in its own way.

    Making one reads the prompt; a backend that compiles generation does so when the first block is asked for.

    Args:
        model: in eval mode.
        codec: the model's.
        prompt: ``[N]`` int16 at the codec's rate, read as the beginning of a recording; may be empty.
        sampler: how to draw.
        batch_size: B, the number of streams.
    """

    def __init__(self, model: CausalModel, codec: Codec, prompt: np.ndarray, sampler: Sampler, batch_size: int = 1):
        self._codec = codec
        state, last = _read(model, [*codec.bos_ids, *codec.encode(prompt).tolist()])
        rows = torch.zeros(batch_size, dtype=torch.long, device=last.device)
        self._loop = model.token_loop(state.select(rows), sampler)
        self._token = last[rows]

    @torch.no_grad()
    def blocks(self, num_samples: int) -> Iterator[np.ndarray]:
        """The next ``num_samples`` of every stream, without the prompt, in blocks ``[B, n]`` int16 of a quarter second.

        Every sample is yielded; the last block may be shorter.
        """
        size = max(1, self._codec.sample_rate // BLOCKS_A_SECOND)
        for start in range(0, num_samples, size):
            num_tokens = min(size, num_samples - start) * self._codec.tokens_a_sample
            tokens, _ = self._loop(self._token, num_tokens)
            self._token = tokens[:, -1]
            yield np.stack([self._codec.decode(row) for row in tokens.cpu().numpy()])


def write_sound(model: CausalModel, codec: Codec, path: Path, seconds: float, sampler: Sampler) -> None:
    """Write a sound that ``model`` makes up to a WAV file at ``path``."""
    generator = AudioGenerator(model, codec, np.empty(0, np.int16), sampler)
    for _ in stream_to_wav(generator.blocks(round(seconds * codec.sample_rate)), [path], codec.sample_rate):
        pass


@torch.no_grad()
def _read(model: CausalModel, tokens: list[int]) -> tuple[State, torch.Tensor]:
    """The state ``[1, ...]`` after all tokens but the last, and the last ``[1]``, which the loop is to read."""
    device = next(model.parameters()).device
    ids, state = torch.tensor([tokens], device=device), model.init_state(1)
    for piece in ids[:, :-1].split(PROMPT_PIECE, dim=1):
        if piece.shape[1]:
            state = model(piece, state).state
    return state, ids[:, -1]

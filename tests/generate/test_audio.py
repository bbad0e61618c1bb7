"""Sound from a model that recites a melody whatever it is fed."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from seqmem.config import CodecConfig
from seqmem.data.codec import Codec
from seqmem.generate.audio import PROMPT_PIECE, AudioGenerator, write_sound
from seqmem.generate.sampling import Sampler
from seqmem.generate.wav import read_wav
from seqmem.models import build_model
from seqmem.models.base import CausalModel, ModelConfig, Output
from seqmem.ops import bind
from seqmem.state import State

RATE = 1000
EMPTY = np.empty(0, np.int16)
KINDS = ("mu-law", "linear", "two-byte", "logistic-mixture")


def codec(kind: str = "mu-law") -> Codec:
    return Codec(CodecConfig.model_validate({"kind": kind, "sample_rate": RATE}))


def melody(num_samples: int, kind: str = "mu-law") -> np.ndarray:
    """A slow tone on the levels of the codec."""
    wave = np.round(9000 * np.sin(np.arange(num_samples) / 7)).astype(np.int16)
    return codec(kind).decode(codec(kind).encode(wave))


@dataclass(frozen=True)
class Position(State):
    rows: Tensor
    position: int


class Recital:
    """The loop that says token t + 1 of a list after reading token t; the row is added to every first of a sample."""

    def __init__(self, reciter: "Reciter", state: Position):
        self._reciter, self.state = reciter, state

    def __call__(self, token: Tensor, num_tokens: int) -> tuple[Tensor, Tensor]:
        self._reciter.calls.append((token.tolist(), num_tokens))
        start = self.state.position + 1
        tokens = self._reciter.ids[start : start + num_tokens].expand(len(token), -1)
        self.state = Position(self.state.rows, self.state.position + num_tokens)
        return tokens, torch.zeros(tokens.shape)


class Reciter(CausalModel):
    """Knows a melody by heart, and notes what it is fed."""

    def __init__(self, ids: np.ndarray):
        super().__init__()
        self.config = ModelConfig(vocab_size=1 << 16, segment_len=4)
        self.weight = nn.Parameter(torch.zeros(1))
        self.ids = torch.from_numpy(ids.astype(np.int64))
        self.read: list[list[int]] = []
        self.calls: list[tuple[list[int], int]] = []

    def init_state(self, batch_size: int) -> Position:
        return Position(torch.zeros(batch_size), 0)

    def forward(self, inputs: Tensor, state: State | None = None) -> Output:
        assert isinstance(state, Position)
        assert not torch.is_grad_enabled()
        self.read.append(inputs[0].tolist())
        return Output(inputs, Position(state.rows, state.position + inputs.shape[1]))

    def token_loop(self, state: State, sampler: Sampler) -> Recital:  # type: ignore[override]
        assert isinstance(state, Position)
        return Recital(self, state)


def reciter(kind: str = "mu-law", num_samples: int = 3000) -> Reciter:
    return Reciter(np.concatenate([codec(kind).bos_ids, codec(kind).encode(melody(num_samples, kind))]))


def say(model: CausalModel, kind: str, prompt: np.ndarray, num_samples: int, batch_size: int = 1) -> list[np.ndarray]:
    return list(AudioGenerator(model, codec(kind), prompt, Sampler(), batch_size).blocks(num_samples))


@pytest.mark.parametrize("kind", KINDS)
def test_a_fresh_start_reads_the_token_of_silence_alone(kind: str):
    model = reciter(kind)
    blocks = say(model, kind, EMPTY, 600)
    bos = list(codec(kind).bos_ids)
    assert model.read == ([bos[:1]] if kind == "two-byte" else [])
    assert model.calls[0][0] == bos[-1:]
    np.testing.assert_array_equal(np.concatenate(blocks, axis=1)[0], melody(600, kind))


@pytest.mark.parametrize("kind", KINDS)
def test_a_prompt_is_read_once_as_a_beginning_and_gone_on_from(kind: str):
    model = reciter(kind)
    prompt = melody(2500, kind)
    blocks = say(model, kind, prompt, 300, batch_size=3)
    tokens = [*codec(kind).bos_ids, *codec(kind).encode(prompt).tolist()]
    assert [token for piece in model.read for token in piece] == tokens[:-1]
    assert all(len(piece) <= PROMPT_PIECE for piece in model.read)
    assert model.calls[0][0] == 3 * tokens[-1:]
    for row in np.concatenate(blocks, axis=1):
        np.testing.assert_array_equal(row, melody(2800, kind)[2500:])


@pytest.mark.parametrize("kind", ["mu-law", "two-byte"])
def test_blocks_are_quarters_of_a_second_and_go_on_from_each_other(kind: str):
    model = reciter(kind)
    generator = AudioGenerator(model, codec(kind), EMPTY, Sampler())
    assert [block.shape for block in generator.blocks(600)] == [(1, 250), (1, 250), (1, 100)]
    more = next(generator.blocks(10))
    np.testing.assert_array_equal(more[0], melody(610, kind)[600:])
    size = codec(kind).tokens_a_sample
    said = [*codec(kind).bos_ids, *codec(kind).encode(melody(610, kind)).tolist()]
    places = np.cumsum([0, *(num_tokens for _, num_tokens in model.calls[:-1])]) + size - 1
    assert [token for (token,), _ in model.calls] == [said[place] for place in places]


def test_a_sound_is_written_to_a_file(tmp_path: Path):
    write_sound(reciter(), codec(), tmp_path / "x.wav", 1.5, Sampler())
    np.testing.assert_array_equal(read_wav(tmp_path / "x.wav"), melody(1500))


@pytest.mark.parametrize("name", ["lstm", "transformer-xl", "wavenet"])
def test_the_same_seed_makes_the_same_sound_and_rows_differ(name: str):
    torch.manual_seed(0)
    model = build_model(f"{name}/tiny", bind("pytorch"), vocab_size=256).eval()

    def sound(seed: int) -> np.ndarray:
        sampler = Sampler(generator=torch.Generator().manual_seed(seed))
        blocks = AudioGenerator(model, codec(), melody(20), sampler, 2).blocks(60)
        return np.concatenate(list(blocks), axis=1)

    first = sound(1)
    assert first.shape == (2, 60)
    np.testing.assert_array_equal(first, sound(1))
    assert (first[0] != first[1]).any()
    assert (first != sound(2)).any()

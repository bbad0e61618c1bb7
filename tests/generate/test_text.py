"""Generation with a model that recites a story whatever it is fed."""

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

from seqmem.config import TokenizerConfig
from seqmem.data.tokenizer import Tokenizer
from seqmem.generate.sampling import Sampler
from seqmem.generate.text import generate
from seqmem.models.base import CausalModel, ModelConfig, Output
from seqmem.state import State

STORY = "naïve 🎉 café\n"


@dataclass(frozen=True)
class Position(State):
    position: int
    cached: bool = False


class Recital:
    """Head that predicts token t of a fixed list where the hidden state is t."""

    def __init__(self, ids: list[int], vocab_size: int):
        self._one_hot = nn.functional.one_hot(torch.tensor(ids), vocab_size).float()

    def sample(self, hidden: Tensor, sampler: Sampler) -> Tensor:
        return sampler(9 * self._one_hot[hidden[:, 0]])


class Reciter(CausalModel):
    """Gives its position as hidden state, and notes what it is fed."""

    def __init__(self, ids: list[int], vocab_size: int):
        super().__init__()
        self.config = ModelConfig(vocab_size=vocab_size, segment_len=4)
        self.weight = nn.Parameter(torch.zeros(1))
        self.head = Recital(ids, vocab_size)  # type: ignore[assignment]
        self.calls: list[tuple[list[int], bool]] = []

    def init_state(self, batch_size: int) -> Position:
        return Position(0)

    def generation_state(self, state: State) -> Position:
        assert isinstance(state, Position)
        return Position(state.position, cached=True)

    def forward(self, inputs: Tensor, state: State | None = None) -> Output:
        assert isinstance(state, Position)
        self.calls.append((inputs[0].tolist(), state.cached))
        positions = torch.arange(state.position, state.position + inputs.shape[1])
        return Output(positions[None, :, None], Position(state.position + inputs.shape[1], state.cached))


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.train(["abc abd " * 9], TokenizerConfig(vocab_size=266))


def recite(tokenizer: Tokenizer, prompt: str, num_tokens: int, sampler: Sampler) -> tuple[list[str], Reciter]:
    model = Reciter([*tokenizer.encode(STORY).tolist(), tokenizer.bos_id], tokenizer.vocab_size)
    return list(generate(model, tokenizer, prompt, num_tokens, sampler)), model


def test_characters_spread_over_tokens_come_whole(tokenizer):
    pieces, _ = recite(tokenizer, "", len(tokenizer.encode(STORY)), Sampler(temperature=0))
    assert "".join(pieces) == STORY
    assert "🎉" in pieces
    assert not any("\ufffd" in piece for piece in pieces)


def test_prompt_follows_bos_and_is_not_repeated(tokenizer):
    pieces, model = recite(tokenizer, "na", 5, Sampler(temperature=0))
    prompt = tokenizer.encode("na").tolist()
    assert model.calls[0] == ([tokenizer.bos_id, *prompt], False)
    assert "".join(pieces) == tokenizer.decode(tokenizer.encode(STORY)[len(prompt) : len(prompt) + 5])


def test_each_step_feeds_one_token_to_the_cache_and_none_is_fed_in_vain(tokenizer):
    _, model = recite(tokenizer, "", 6, Sampler(temperature=0))
    ids = tokenizer.encode(STORY).tolist()
    assert model.calls == [([tokenizer.bos_id], False), *(([index], True) for index in ids[:5])]


def test_cut_character_and_bos_are_told(tokenizer):
    start = STORY.index("🎉")
    before = len(tokenizer.encode(STORY[:start]))
    pieces, _ = recite(tokenizer, "", before + 2, Sampler(temperature=0))
    assert "".join(pieces) == STORY[:start] + "\ufffd"
    pieces, _ = recite(tokenizer, "", len(tokenizer.encode(STORY)) + 1, Sampler(temperature=0))
    assert "".join(pieces) == STORY


def test_same_seed_same_text(tokenizer):
    def text(seed: int) -> str:
        sampler = Sampler(temperature=5.0, generator=torch.Generator().manual_seed(seed))
        return "".join(recite(tokenizer, "", 15, sampler)[0])

    assert text(1) == text(1) != text(2)


def test_prefill_draws_no_gradient(tokenizer):
    pieces = generate(Reciter([5] * 9, tokenizer.vocab_size), tokenizer, "", 3, Sampler(temperature=0))
    next(pieces)
    assert torch.is_grad_enabled()

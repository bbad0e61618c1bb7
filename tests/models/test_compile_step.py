"""Generation by compiled steps: what the model's own cached generation gives, whatever happens in between."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from seqmem.config import TokenizerConfig
from seqmem.data.tokenizer import Tokenizer
from seqmem.generate.sampling import Sampler
from seqmem.generate.text import generate
from seqmem.models import build_model
from seqmem.models.base import CausalModel, ForwardStep, GenerationStep
from seqmem.models.segmented_step import SegmentedStep
from seqmem.ops import AttendingStep, Attention, bind, dispatch, registry

MODELS = {
    "transformer-xl": {"segment_len": 6, "mem_len": 9},
    "transformer-xl, by layer": {
        "segment_len": 5,
        "mem_len": (13, 2),
        "attention_range": (4, -1),
        "untie_uv": True,
        "pre_norm": True,
    },
    "transformer-xl, adaptive": {"segment_len": 4, "mem_len": 3, "cutoffs": (20, 100), "div_value": 2.0},
    "compressive": {"segment_len": 6, "mem_len": 8, "cmem_len": 5, "compression_rate": 2},
    "compressive, zeros": {
        "segment_len": 7,
        "mem_len": 10,
        "cmem_len": (5, 0),
        "compression_rate": 3,
        "memory_init": "zeros",
        "compression": "max",
    },
    "transformer": {"segment_len": 11},
    "transformer, pre-LN": {"segment_len": 11, "pre_norm": True},
}


BACKENDS = [
    row.name
    for row in registry.survey()
    if row.available and "compile_step" in row.operations.get(3, []) and "float64" in row.dtypes
]
"""Those that offer steps here in float64; the pytorch backend always does."""


def make(label: str, backend: str = "pytorch", **more) -> CausalModel:
    """A tiny model in float64 whose weights are large and biases non-zero, so that every term shows."""
    torch.manual_seed(0)
    overrides = MODELS.get(label, {}) | more
    model = build_model(f"{label.partition(',')[0]}/tiny", bind(backend), **overrides).double().eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, 0, 0.2)
    return model


def tokens(length: int) -> Tensor:
    return torch.randint(0, 256, (3, length), generator=torch.Generator().manual_seed(1))


def run(step: GenerationStep, ids: Tensor) -> Tensor:
    """Hidden states of all tokens, ``[B, T, d]``."""
    return torch.stack([step(token) for token in ids.unbind(1)], 1)


def compiled(model: CausalModel, state) -> SegmentedStep:
    step = model.generation_step(state)
    assert isinstance(step, SegmentedStep)
    return step


def assert_same_state(actual, expected):
    """Every field, to rounding; integers and lengths exactly."""
    actual, expected = actual.tensors(), expected.tensors()
    assert list(actual) == list(expected)
    for name, tensor in expected.items():
        torch.testing.assert_close(actual[name], tensor, rtol=0, atol=1e-10)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("label", MODELS)
@torch.no_grad()
def test_steps_are_the_cached_generation_across_every_turnover(label, backend):
    model = make(label, backend)
    ids = tokens(3 * model.config.turnover + 3)
    step, plain = compiled(model, model.init_state(3)), ForwardStep(model, model.init_state(3))
    hidden = run(step, ids)
    torch.testing.assert_close(hidden, run(plain, ids), rtol=0, atol=1e-10)
    torch.testing.assert_close(hidden, model(ids).hidden, rtol=0, atol=1e-10)
    assert_same_state(step.state, plain.state)


@pytest.mark.parametrize("label", MODELS)
@torch.no_grad()
def test_a_state_goes_in_and_out_at_any_token(label):
    """Prefill to somewhere in a segment, step, go back to whole calls, step again."""
    model = make(label)
    ids = tokens(40)
    whole = model(ids).hidden
    for prefilled, stepped in ((1, 1), (11, 7), (12, 12), (17, 20)):
        step = compiled(model, model(ids[:, :prefilled]).state)
        middle = prefilled + stepped
        torch.testing.assert_close(run(step, ids[:, prefilled:middle]), whole[:, prefilled:middle])
        state = step.state
        kept = state.map(Tensor.clone)
        again = run(compiled(model, state), ids[:, middle:])
        assert torch.equal(run(step, ids[:, middle:]), again)
        assert_same_state(state, kept)
        torch.testing.assert_close(again, whole[:, middle:])
        torch.testing.assert_close(model(ids[:, middle:], state).hidden, whole[:, middle:])


@pytest.mark.parametrize("label", ["transformer-xl", "compressive"])
@torch.no_grad()
def test_rows_start_over_and_rows_are_picked(label):
    model = make(label)
    length = model.config.segment_len
    ids = tokens(12 * length)
    step = compiled(model, model.init_state(3))
    run(step, ids[:, : 6 * length])
    state = step.state
    step = compiled(model, replace(state, filled=state.filled * torch.tensor([1, 0, 1])))
    hidden = run(step, ids[:, 6 * length :])
    fresh = model(ids[:, 6 * length :]).hidden
    torch.testing.assert_close(hidden[1], fresh[1])
    torch.testing.assert_close(hidden[[0, 2]], model(ids).hidden[[0, 2], 6 * length :])
    assert not torch.allclose(hidden[0], fresh[0])

    rows = torch.tensor([2, 0])
    inside = compiled(model, model(ids[:, : length + 2]).state)
    picked = run(compiled(model, inside.state.select(rows)), ids[rows, length + 2 :])
    torch.testing.assert_close(picked, run(inside, ids[:, length + 2 :])[rows])


@torch.no_grad()
def test_one_attend_call_a_layer(monkeypatch):
    calls: list[tuple[int, ...]] = []
    backend = registry.backend("pytorch")

    def attend(call: Attention):
        calls.append(tuple(call.k.shape[:2]))
        return backend.attend(call)

    monkeypatch.setattr(type(backend), "compile_step", lambda self, program: AttendingStep(program, attend))
    step = compiled(make("transformer-xl, by layer"), make("transformer-xl, by layer").init_state(3))
    run(step, tokens(2))
    assert calls == [(3, 4), (3, 3), (3, 4), (3, 4)]


def test_no_gradient_is_kept():
    model = make("transformer-xl")
    step = compiled(model, model.init_state(3))
    assert not run(step, tokens(9)).requires_grad
    assert not any(past.requires_grad for past in step.state.past)


def plain_by_compression() -> CausalModel:
    return make("compressive", compression="most-used")


def plain_in_training() -> CausalModel:
    return make("transformer-xl").train()


@pytest.mark.parametrize("make_model", [plain_by_compression, plain_in_training])
def test_what_no_program_describes_takes_the_plain_step(make_model):
    model = make_model()
    assert isinstance(model.generation_step(model.init_state(3)), ForwardStep)


@pytest.fixture
def not_offered(monkeypatch):
    """The pytorch backend without ``compile_step``."""
    monkeypatch.delattr(type(registry.backend("pytorch")), "compile_step")
    dispatch.decide.cache_clear()
    yield
    dispatch.decide.cache_clear()


def test_a_backend_without_the_capability_takes_the_plain_step(not_offered):
    model = make("transformer-xl")
    assert isinstance(model.generation_step(model.init_state(3)), ForwardStep)
    assert "compile_step" in model.ops.describe().partition("defaults: ")[2]


def test_the_capability_is_shown():
    assert "pytorch" in BACKENDS
    assert "compile_step" in bind("pytorch").describe().partition("defaults: ")[0]


def test_generation_draws_the_same_tokens(monkeypatch):
    tokenizer = Tokenizer.train(["abc abd " * 9], TokenizerConfig(vocab_size=266))
    model = make("compressive", vocab_size=tokenizer.vocab_size)

    def text() -> str:
        sampler = Sampler(temperature=0.9, top_p=0.95, generator=torch.Generator().manual_seed(3))
        return "".join(generate(model, tokenizer, "abd", 60, sampler))

    by_steps = text()
    monkeypatch.setattr(type(model), "generation_step", CausalModel.generation_step)
    assert by_steps == text()
    assert len(set(by_steps)) > 10

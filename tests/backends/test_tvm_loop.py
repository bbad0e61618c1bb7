"""A program of convolutions compiled whole, against the same program run by PyTorch, operation after operation."""

from collections.abc import Iterator
from copy import deepcopy
from functools import cache

import pytest
import torch
from seqmem.backends.tvm import loop as tvm_loop
from seqmem.backends.tvm.loop import GatedLoop
from seqmem.backends.tvm.spec import host_isa

from seqmem.ops import bind
from seqmem.ops.loop import ConvolutionProgram, GatedLayer, Loop, Queues
from seqmem.ops.queue_loop import QueueLoop
from seqmem.ops.step import Affine

PROGRAMS = {
    # Whole vectors, two phases, one bias for all streams.
    "two phases": dict(dilations=(1, 2, 4, 8, 16) * 2, channels=32, gates=32, skip=64, num_classes=512, num_phases=2),
    # Nothing is a multiple of a vector; kernel 3; streams conditioned each on its own.
    "mixture": dict(
        dilations=(1, 3, 9, 27),
        channels=13,
        gates=7,
        skip=21,
        taps=3,
        first_taps=3,
        num_classes=65536,
        num_logistics=5,
        conditioned=True,
    ),
    # A vector and one; some blocks of the head are left over.
    "odd": dict(dilations=(1, 2, 4, 8, 1, 2, 4), channels=33, gates=17, skip=50, num_classes=101),
    "one tap": dict(dilations=(1, 1), channels=5, gates=4, skip=3, taps=1, first_taps=1, num_classes=7),
}
BATCH = 3
TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-9}


def program(
    dtype: torch.dtype,
    dilations: tuple[int, ...],
    channels: int,
    gates: int,
    skip: int,
    num_classes: int,
    num_phases: int = 1,
    num_logistics: int = 0,
    taps: int = 2,
    first_taps: int = 2,
    conditioned: bool = False,
) -> ConvolutionProgram:
    """Random weights, the same numbers in every dtype, of a size that keeps activations and logits about 1."""
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int, scale: float = 0.3) -> torch.Tensor:
        return (torch.randn(*shape, dtype=torch.float64, generator=generator) * scale).to(dtype)

    def affine(num_outputs: int, num_inputs: int) -> Affine:
        return Affine(normal(num_outputs, num_inputs, scale=num_inputs**-0.5), normal(num_outputs))

    layers = tuple(
        GatedLayer(
            gates=normal(2 * gates, channels, taps, scale=(channels * taps) ** -0.5),
            bias=normal(BATCH if conditioned else 1, 2 * gates),
            dilation=dilation,
            out=affine(channels, gates) if index + 1 < len(dilations) else None,
            skip=Affine(affine(skip, gates).weight, normal(skip) if index == 0 else None),
        )
        for index, dilation in enumerate(dilations)
    )
    return ConvolutionProgram(
        first=normal(first_taps, 1 if num_logistics else num_classes, channels),
        first_bias=normal(channels),
        layers=layers,
        hidden=affine(skip, skip),
        head=affine(3 * num_logistics or num_classes, skip),
        kind="logistic-mixture" if num_logistics else "softmax",
        num_classes=num_classes,
        num_phases=num_phases,
    )


def queues(of: ConvolutionProgram, batch: int = BATCH) -> Queues:
    """Of a past that there was."""
    generator = torch.Generator().manual_seed(1)
    channels, taps = of.layers[0].gates.shape[1:]
    rings = [torch.randn(batch, (taps - 1) * layer.dilation, channels, generator=generator) for layer in of.layers]
    tokens = torch.randint(of.num_classes, (batch, len(of.first) - 1), generator=generator)
    return Queues(tokens, [ring.to(of.like.dtype) for ring in rings], position=4)


def uniforms(num_tokens: int, batch: int = BATCH) -> torch.Tensor:
    return torch.rand(batch, num_tokens, 2, generator=torch.Generator().manual_seed(2)).clamp(1e-6, 1 - 1e-6)


def rows(of: Queues, chosen: slice) -> Queues:
    return Queues(of.tokens[chosen].clone(), [ring[chosen].clone() for ring in of.layers], of.position)


def assert_equal(a: Queues, b: Queues, tolerance: float = 0.0) -> None:
    assert torch.equal(a.tokens, b.tokens)
    assert a.position == b.position
    for ring, other in zip(a.layers, b.layers, strict=True):
        torch.testing.assert_close(ring, other, rtol=0, atol=tolerance)


@pytest.fixture(params=["two phases", "mixture", "odd"])
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(params=TOLERANCE, ids=lambda dtype: str(dtype).removeprefix("torch."))
def dtype(request: pytest.FixtureRequest) -> torch.dtype:
    return request.param


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Operations as small as the oracle's only wait for a second."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@cache
def teacher_forced(name: str) -> tuple[torch.Tensor, torch.Tensor, Queues]:
    """Tokens, the lowest and the highest of their phases among them, and what the oracle makes of them, exactly."""
    of = program(torch.float64, **PROGRAMS[name])
    after, num_tokens, each = queues(of), 2000, of.num_classes // of.num_phases
    levels = torch.randint(each, (BATCH, num_tokens), generator=torch.Generator().manual_seed(3))
    levels[:, :8] = torch.tensor([each - 1, each - 1, 0, 0] * 2)
    forced = levels + each * ((after.position + 1 + torch.arange(num_tokens)) % of.num_phases)
    return forced, QueueLoop(of)(after, forced[:, -1], uniforms(num_tokens), 1, 1, forced)[1], after


@pytest.mark.parametrize(("temperature", "top_p"), [(1, 1), (0.7, 1), (1, 0.8), (1.4, 0.3), (0, 1)])
@pytest.mark.parametrize("name", PROGRAMS)
def test_what_is_drawn_is_what_the_oracle_draws(name: str, temperature: float, top_p: float):
    of = program(torch.float64, **PROGRAMS[name])
    ours, theirs = queues(of), queues(of)
    token, noise = of.num_classes // of.num_phases - torch.arange(1, BATCH + 1), uniforms(200)
    tokens, log_probs = GatedLoop(of)(ours, token, noise, temperature, top_p)
    wanted, wanted_log_probs = QueueLoop(of)(theirs, token, noise, temperature, top_p)
    assert torch.equal(tokens, wanted)
    torch.testing.assert_close(log_probs, wanted_log_probs, rtol=0, atol=1e-9)
    assert_equal(ours, theirs, 1e-9)


def test_given_tokens_are_as_likely_as_by_the_oracle_after_thousands(name: str, dtype: torch.dtype):
    of = program(dtype, **PROGRAMS[name])
    forced, wanted, theirs = teacher_forced(name)
    ours = queues(of)
    tokens, log_probs = GatedLoop(of)(ours, forced[:, -1], uniforms(forced.shape[1]), 1, 1, forced)
    assert torch.equal(tokens, forced)
    torch.testing.assert_close(log_probs.double(), wanted, rtol=0, atol=TOLERANCE[dtype])
    ours.layers = [ring.double() for ring in ours.layers]
    assert_equal(ours, theirs, TOLERANCE[dtype])


def test_two_halves_are_the_whole(name: str):
    of = program(torch.float32, **PROGRAMS[name])
    loop, token, noise = GatedLoop(of), torch.zeros(BATCH, dtype=torch.int64), uniforms(101)
    whole, halves = queues(of), queues(of)
    tokens, log_probs = loop(whole, token, noise, 1, 0.9)
    first, first_log_probs = loop(halves, token, noise[:, :50], 1, 0.9)
    second, second_log_probs = loop(halves, first[:, -1], noise[:, 50:], 1, 0.9)
    assert torch.equal(torch.cat([first, second], 1), tokens)
    assert torch.equal(torch.cat([first_log_probs, second_log_probs], 1), log_probs)
    assert_equal(whole, halves)


@pytest.mark.parametrize("batch", [2, 9])
def test_streams_ignore_each_other_and_threads(batch: int):
    of = program(torch.float32, **PROGRAMS["odd"])
    loop, token, noise = GatedLoop(of), torch.arange(batch), uniforms(40, batch)
    before = queues(of, batch)
    after = deepcopy(before)
    tokens, log_probs = loop(after, token, noise, 1, 1)
    for row in range(batch):
        alone, only = rows(before, slice(row, row + 1)), slice(row, row + 1)
        assert torch.equal(loop(alone, token[only], noise[only], 1, 1)[0], tokens[only])
        assert_equal(alone, rows(after, only))
    torch.set_num_threads(2)
    again = deepcopy(before)
    assert torch.equal(loop(again, token, noise, 1, 1)[1], log_probs)
    assert_equal(again, after)


def test_noise_need_not_lie_in_order(name: str):
    of = program(torch.float32, **PROGRAMS[name])
    loop, token, noise = GatedLoop(of), torch.zeros(BATCH, dtype=torch.int64), uniforms(20)
    in_time_order = noise.transpose(0, 1).contiguous().transpose(0, 1)
    assert torch.equal(loop(queues(of), token, noise, 1, 1)[0], loop(queues(of), token, in_time_order, 1, 1)[0])


def test_nothing_to_do():
    of = program(torch.float32, **PROGRAMS["odd"])
    for batch, num_tokens in ((0, 5), (2, 0)):
        ours, before = queues(of, batch), queues(of, batch)
        tokens, log_probs = GatedLoop(of)(ours, torch.zeros(batch).long(), torch.rand(batch, num_tokens, 2), 1, 1)
        assert tokens.shape == log_probs.shape == (batch, num_tokens)
        before.position += num_tokens
        assert_equal(ours, before)


def test_what_would_reach_outside_is_refused():
    of = program(torch.float32, **PROGRAMS["two phases"])
    loop, token, noise = GatedLoop(of), torch.zeros(BATCH, dtype=torch.int64), uniforms(1)
    with pytest.raises(ValueError, match="512 ids"):
        loop(queues(of), token + 512, noise, 1, 1)
    with pytest.raises(ValueError, match="phase"):
        loop(queues(of), token, noise, 1, 1, forced=token[:, None])
    strided = queues(of)
    strided.layers = [ring.transpose(0, 1).contiguous().transpose(0, 1) for ring in strided.layers]
    with pytest.raises(ValueError, match="contiguous"):
        loop(strided, token, noise, 1, 1)


def test_weights_that_are_not_numbers_show(name: str):
    of = program(torch.float32, **PROGRAMS[name])
    of.layers[0].gates[0, 0, -1] = torch.nan
    _, log_probs = GatedLoop(of)(queues(of), torch.zeros(BATCH, dtype=torch.int64), uniforms(3), 1, 1)
    assert log_probs.isnan().all()


def test_the_backend_offers_it():
    of = program(torch.float32, **PROGRAMS["odd"])
    loop: Loop | None = bind("tvm").compile_loop(of)
    assert isinstance(loop, GatedLoop)
    assert "compile_loop" in bind("tvm").describe().partition("defaults")[0]


@pytest.mark.skipif(host_isa() == "neon", reason="code for x86-64 runs there")
def test_narrower_vectors_compute_the_same(monkeypatch: pytest.MonkeyPatch):
    of = program(torch.float64, **PROGRAMS["odd"])
    ours, theirs, token, noise = queues(of), queues(of), torch.zeros(BATCH, dtype=torch.int64), uniforms(50)
    monkeypatch.setattr(tvm_loop, "host_isa", lambda: "generic")
    tokens, _ = GatedLoop(of)(ours, token, noise, 1, 0.9)
    assert torch.equal(tokens, QueueLoop(of)(theirs, token, noise, 1, 0.9)[0])
    assert_equal(ours, theirs, 1e-9)

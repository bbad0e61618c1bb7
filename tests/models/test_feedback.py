"""Feedback Transformer against its equations, a token and a layer at a time; gradients, memory, what a step costs."""

import math

import pytest
import torch
from torch import Tensor

from seqmem.layers.feedback import FeedbackBlock
from seqmem.layers.positions import sinusoid
from seqmem.models import build_model
from seqmem.models.feedback import Feedback
from seqmem.ops import bind

TINY = {"vocab_size": 30, "num_layers": 3, "d_model": 10, "head_dim": 4, "d_inner": 14, "segment_len": 9, "mem_len": 5}


def make(**overrides) -> Feedback:
    torch.manual_seed(0)
    model = build_model("feedback/tiny", bind("pytorch"), **TINY | overrides).double()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, 0, 0.4)
    assert isinstance(model, Feedback)
    return model


def tokens(length: int, batch: int = 2) -> Tensor:
    return torch.randint(0, 30, (batch, length), generator=torch.Generator().manual_seed(1))


def attended(model: Feedback, block: FeedbackBlock, x: Tensor, memories: list[Tensor]) -> Tensor:
    """What a vector ``[d]`` sees of the memories before it."""
    layers, heads = model.layers, []
    num_heads, width = layers.heads
    queries = block.query.weight.view(num_heads, width, -1) @ layers.norm(x)
    w_k, w_v = layers.keys_values.weight.view(2, num_heads, width, -1)
    w_r = layers.positions.weight.view(num_heads, width, -1)
    for h in range(num_heads):
        scores = []
        for distance, memory in zip(range(len(memories), 0, -1), memories, strict=True):
            place = sinusoid(torch.tensor([distance]).double(), len(x))[0]
            scores.append((queries[h] + layers.u[h]) @ (w_k[h] @ layers.norm(memory)))
            scores[-1] = scores[-1] + (queries[h] + layers.v[h]) @ (w_r[h] @ place)
        probs = (torch.stack(scores) / math.sqrt(width)).softmax(0)
        heads.append(sum(p * (w_v[h] @ layers.norm(memory)) for p, memory in zip(probs, memories, strict=True)))
    return block.out(torch.cat(heads))


def by_loops(model: Feedback, ids: Tensor) -> tuple[Tensor, Tensor]:
    """Hidden states and memories ``[T, d]`` of one sequence."""
    shares, memories, hidden = model.layers.mix.softmax(0), [], []
    for i in ids:
        x = model.head.weight[i] * math.sqrt(model.config.d_model)
        memory = shares[0] * x
        for block, share in zip(model.layers.blocks, shares[1:], strict=True):
            if memories:
                x = x + attended(model, block, x, memories[-model.config.mem_len :])
            x = x + block.feed_forward(block.feed_forward_norm(x))
            memory = memory + share * x
        memories.append(memory)
        hidden.append(model.final_norm(x))
    return torch.stack(hidden), torch.stack(memories)


@pytest.mark.parametrize("overrides", [{}, {"mem_len": 1}, {"mem_len": 40, "num_layers": 1}])
def test_values_and_gradients(overrides):
    model, ids = make(**overrides), tokens(13)
    wanted = torch.stack([by_loops(model, row)[0] for row in ids])
    found = model(ids).hidden
    torch.testing.assert_close(found, wanted)
    direction = torch.randn(wanted.shape, dtype=torch.float64)
    gradients = [
        torch.autograd.grad(hidden, list(model.parameters()), direction, allow_unused=True)
        for hidden in (found, wanted)
    ]
    for (name, _), ours, theirs in zip(model.named_parameters(), *gradients, strict=True):
        if theirs is None:
            assert (name, ours) == ("head.bias", None)
        else:
            torch.testing.assert_close(ours, theirs, msg=lambda text, name=name: f"{name}: {text}")


def test_memories_are_the_state_and_carry_gradients_across_calls():
    model, ids = make(), tokens(11, 1)
    wanted_hidden, wanted = by_loops(model, ids[0])
    first = model(ids[:, :4])
    second = model(ids[:, 4:], first.state)
    torch.testing.assert_close(second.state.past[0], wanted[-5:])
    hidden = torch.cat([first.hidden, second.hidden], 1)[0]
    direction = torch.randn(hidden.shape, dtype=torch.float64)
    weight = model.layers.keys_values.weight
    ours, theirs = (torch.autograd.grad(found, weight, direction)[0] for found in (hidden, wanted_hidden))
    torch.testing.assert_close(ours, theirs)


def test_gradients_under_dropout():
    """Along a random direction, against finite differences under the same masks."""
    model, ids = make(dropout=0.4).train(), tokens(9)
    parameters = list(model.parameters())
    directions = [torch.randn_like(parameter) for parameter in parameters]

    def loss() -> Tensor:
        torch.manual_seed(3)
        return model.head.nll(model(ids[:, :-1]).hidden, ids[:, 1:]).sum()

    slope = sum((g * d).sum() for g, d in zip(torch.autograd.grad(loss(), parameters), directions, strict=True))

    @torch.no_grad()
    def moved(by: float) -> float:
        for parameter, direction in zip(parameters, directions, strict=True):
            parameter += by * direction
        return loss().item()

    epsilon = 1e-6
    assert slope.item() == pytest.approx((moved(epsilon) - moved(-2 * epsilon)) / (2 * epsilon), rel=1e-5)


def test_memories_of_the_embedding_alone():
    """With all of w on the embedding, memories are embeddings, so tokens beyond reach change nothing."""
    model, ids = make(), tokens(12)
    model.layers.mix.data = torch.tensor([0.0, -1e9, -1e9, -1e9]).double()
    state = model(ids).state
    torch.testing.assert_close(state.past, model.head.embed(ids[:, -5:]))
    other = ids.clone()
    other[:, :6] = (ids[:, :6] + 1) % 30
    torch.testing.assert_close(model(other).hidden[:, -1], model(ids).hidden[:, -1])
    model.layers.mix.data.zero_()
    assert not torch.allclose(model(other).hidden[:, -1], model(ids).hidden[:, -1])


def test_rows_of_a_batch_do_not_meet():
    model, ids = make(), tokens(12, 3)
    torch.testing.assert_close(model(ids).hidden[1:2], model(ids[1:2]).hidden)


@torch.no_grad()
def test_generation_keeps_one_key_and_one_value_a_token():
    model, ids = make(), tokens(17)
    step = model.generation_step(model.init_state(2))
    hidden = [step(token) for token in ids[:, :9].unbind(1)]
    kept = step.state
    assert kept.past.shape == (2, 5, 2, 2, 4)
    hidden += [step(token) for token in ids[:, 9:].unbind(1)]
    torch.testing.assert_close(torch.stack(hidden, 1), model(ids).hidden)
    torch.testing.assert_close(model(ids[:, 9:], kept).hidden, model(ids).hidden[:, 9:])
    assert (kept.position, step.state.position) == (9, 17)


def test_other_memory_lengths_have_the_same_weights():
    model, ids = make(), tokens(12)
    longer = model.with_lengths(mem_len=8)
    wanted, _ = by_loops(longer, ids[0])
    torch.testing.assert_close(longer(ids).hidden[0], wanted)
    assert not torch.allclose(model(ids).hidden[0], wanted)

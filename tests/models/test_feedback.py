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

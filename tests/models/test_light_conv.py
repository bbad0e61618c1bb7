"""Lightweight and dynamic convolutions against explicit loops."""

import math

import pytest
import torch
from torch import Tensor

from seqmem.errors import SeqmemError
from seqmem.models import build_model
from seqmem.models.light_conv import LightConv
from seqmem.ops import bind

TINY = {"vocab_size": 30, "d_model": 12, "num_heads": 3, "d_inner": 10, "segment_len": 9, "kernel_size": (3, 7)}


def make(**overrides) -> LightConv:
    torch.manual_seed(0)
    model = build_model("light-conv/tiny", bind("pytorch"), **(TINY | overrides)).double().eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, 0, 0.3)
    assert isinstance(model, LightConv)
    return model


def tokens(length: int, batch: int = 1) -> Tensor:
    return torch.randint(0, 30, (batch, length), generator=torch.Generator().manual_seed(1))


def by_loops(model: LightConv, ids: Tensor) -> Tensor:
    """One sequence ``[T]``, channel by channel and tap by tap."""
    c = model.config
    rows = torch.stack([model.head.weight[i] * math.sqrt(c.d_model) for i in ids])
    for block, kernel_size in zip(model.blocks, c.kernel_sizes, strict=True):
        mixer = block.mixer
        left, gates = mixer.inner(rows).chunk(2, -1)
        gated = left * gates.sigmoid()
        mixed = torch.zeros_like(gated)
        for i in range(len(ids)):
            for channel in range(c.d_model):
                head = channel // (c.d_model // c.num_heads)
                if c.dynamic:
                    taps = (mixer.taps.weight.view(c.num_heads, kernel_size, -1)[head] @ gated[i]).softmax(0)
                else:
                    taps = mixer.fixed_taps[head].softmax(0)
                for tap in range(kernel_size):
                    source = i + tap - (kernel_size - 1)
                    if source >= 0:
                        mixed[i, channel] += taps[tap] * gated[source, channel]
        rows = block.mixer_norm(rows + mixer.out(mixed))
        rows = block.feed_forward_norm(rows + block.feed_forward(rows))
    return rows


@pytest.mark.parametrize("dynamic", [False, True])
@pytest.mark.parametrize("length", [5, 20])
@torch.no_grad()
def test_values_also_where_the_kernel_is_longer_than_the_text(dynamic: bool, length: int):
    model, ids = make(dynamic=dynamic), tokens(length)
    torch.testing.assert_close(model(ids).hidden[0], by_loops(model, ids[0]), rtol=0, atol=1e-10)


@pytest.mark.parametrize("dynamic", [False, True])
def test_taps_sum_to_one_and_are_dropped_token_by_token(dynamic: bool):
    mixer = make(dynamic=dynamic, weight_dropout=0.5).blocks[1].mixer
    x = torch.randn(2, 6, 12).double()
    assert mixer.weights(x).shape == (2, 6, 3, 7)
    torch.testing.assert_close(mixer.weights(x).sum(-1), torch.ones(2, 6, 3).double())
    dropped = mixer.train().weights(x) == 0
    assert 0.3 < dropped.double().mean() < 0.7
    assert not torch.equal(dropped[0, 0], dropped[0, 1])


@pytest.mark.parametrize("dynamic", [False, True])
def test_gradients_of_the_layer(dynamic: bool):
    mixer = make(dynamic=dynamic).blocks[0].mixer
    x, past = torch.randn(1, 4, 12).double().requires_grad_(), torch.randn(1, 2, 12).double().requires_grad_()
    relative = x.new_zeros(0)
    assert torch.autograd.gradcheck(lambda x, past: mixer(x, past, None, relative)[0], (x, past))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"num_heads": 5}, "d_model = 12 is not a multiple of num_heads = 5"),
        ({"kernel_size": -1}, "kernel_size has no"),
    ],
)
def test_what_does_not_fit_is_named(overrides, message):
    with pytest.raises(SeqmemError, match=message):
        make(**overrides)

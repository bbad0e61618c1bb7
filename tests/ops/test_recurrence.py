"""Tier 2 defaults: against loops, in pieces, with gradients."""

import pytest
import torch
import torch.nn.functional as F
from torch.autograd import gradcheck

from seqmem.ops import bind, reference

OPS = bind("pytorch")


def draw(*shape):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(sum(shape)))


@pytest.mark.parametrize("length", [1, 2, 7, 64, 65])
def test_scan_equals_the_loop_and_its_pieces(length):
    gate, x, initial = draw(2, length, 3).sigmoid(), draw(2, length, 3), draw(2, 3)
    gate[:, length // 2] = 0
    states, final = OPS.scan(gate, x, initial)
    torch.testing.assert_close((states, final), reference.scan(gate, x, initial))
    cut = length // 3
    if cut:
        first, carried = OPS.scan(gate[:, :cut], x[:, :cut], initial)
        second, _ = OPS.scan(gate[:, cut:], x[:, cut:], carried)
        torch.testing.assert_close(torch.cat([first, second], 1), states)


def test_scan_gradients_and_broadcast_gate():
    gate, x, initial = draw(1, 5, 1).sigmoid(), draw(1, 5, 2), draw(1, 2)
    assert gradcheck(OPS.scan, [tensor.requires_grad_() for tensor in (gate, x, initial)])


@pytest.mark.parametrize("length", [1, 63, 64, 130])
@pytest.mark.parametrize("decayed", [False, True])
def test_linear_attention_equals_the_loop_and_its_pieces(length, decayed):
    q, k, v, initial = draw(2, length, 2, 3), draw(2, length, 2, 3), draw(2, length, 2, 4), draw(2, 2, 3, 4)
    decay = F.logsigmoid(draw(2, length, 2)) if decayed else None
    out, final = OPS.linear_attention(q, k, v, decay, initial)
    torch.testing.assert_close((out, final), reference.linear_attention(q, k, v, decay, initial))
    cut = length // 2
    if cut:
        parts = [None if t is None else t[:, :cut] for t in (q, k, v, decay)]
        first, carried = OPS.linear_attention(*parts, initial)
        parts = [None if t is None else t[:, cut:] for t in (q, k, v, decay)]
        second, _ = OPS.linear_attention(*parts, carried)
        torch.testing.assert_close(torch.cat([first, second], 1), out)


def test_linear_attention_gradients():
    operands = [draw(1, 5, 1, 2), draw(1, 5, 1, 2), draw(1, 5, 1, 2), -draw(1, 5, 1).abs(), draw(1, 1, 2, 2)]
    assert gradcheck(OPS.linear_attention, [tensor.requires_grad_() for tensor in operands])


@pytest.mark.parametrize(("kernel", "dilation", "groups"), [(1, 1, 1), (2, 1, 1), (3, 4, 1), (2, 3, 2), (4, 2, 4)])
def test_causal_conv_is_causal_and_streams(kernel, dilation, groups):
    x, weight, bias = draw(2, 23, 4), draw(4, 4 // groups, kernel), draw(4)
    out, final = OPS.causal_conv1d(x, weight, bias, dilation, groups)
    padded = F.pad(x.mT, ((kernel - 1) * dilation, 0))
    torch.testing.assert_close(out, F.conv1d(padded, weight, bias, dilation=dilation, groups=groups).mT)
    state, pieces = None, []
    for piece in x.split([1, 5, 1, 16], 1):
        part, state = OPS.causal_conv1d(piece, weight, bias, dilation, groups, state)
        pieces.append(part)
    torch.testing.assert_close(torch.cat(pieces, 1), out)
    torch.testing.assert_close(state, final)


@pytest.mark.parametrize(
    ("kernel", "dilation", "groups"), [(1, 1, 1), (2, 3, 1), (2, 7, 1), (3, 2, 1), (2, 2, 2), (3, 2, 4)]
)
def test_causal_conv_gradients(kernel, dilation, groups):
    x, weight, bias = draw(2, 5, 4), draw(4, 4 // groups, kernel), draw(4)
    state = draw(2, (kernel - 1) * dilation, 4)
    operands = [tensor.requires_grad_() for tensor in (x, weight, bias, state)]

    def convolved(x, weight, bias, state):
        return OPS.causal_conv1d(x, weight, bias, dilation, groups, state)

    assert gradcheck(convolved, operands)
    assert gradcheck(lambda x, weight: OPS.causal_conv1d(x, weight, None, dilation, groups), operands[:2])


def test_causal_conv_under_autocast():
    x, weight = draw(2, 5, 4).float(), draw(6, 4, 2).float().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        out, _ = OPS.causal_conv1d(x, weight, None, 2)
    assert out.dtype == torch.bfloat16
    out.sum().backward()
    torch.testing.assert_close(out.float(), OPS.causal_conv1d(x, weight, None, 2)[0], rtol=0.05, atol=0.05)

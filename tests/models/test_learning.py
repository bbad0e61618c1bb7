"""Every model learns in a plain loop, by the public interface: build, call with the carried state, use the head."""

import pytest
import torch

from seqmem.models import MODELS, build_model
from seqmem.ops import bind


@pytest.mark.parametrize("name", MODELS)
def test_a_plain_loop_teaches_it_to_count(name):
    torch.manual_seed(0)
    model = build_model(f"{name}/tiny", bind("pytorch"), vocab_size=30, segment_len=16)
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    text = torch.arange(30).repeat(8)[None]
    state, losses = None, []
    for step in range(80):
        start = step * 16 % 192
        out = model(text[:, start : start + 16], state)
        state = out.state.detach()
        loss = model.head.nll(out.hidden, text[:, start + 1 : start + 17]).mean()
        optimizer.zero_grad()
        (loss + sum(out.losses.values())).backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]
    assert model.head.logits(out.hidden).softmax(-1).shape == (1, 16, 30)

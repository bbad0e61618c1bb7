"""Linformer against its formula, by every projection and way of sharing; padding; gradients; what is counted."""

import pytest
import torch

from seqmem.errors import SeqmemError
from seqmem.models import encoder_config
from seqmem.models.linformer import Linformer, LinformerConfig
from seqmem.ops import bind

TINY = {
    "vocab_size": 40,
    "max_len": 24,
    "num_layers": 2,
    "d_model": 12,
    "num_heads": 3,
    "d_inner": 20,
    "num_slots": 6,
}
PROJECTIONS = ["linear", "conv", "mean", "max"]
SHARING = ["none", "heads", "key-value", "layers"]


def make(**overrides) -> Linformer:
    torch.manual_seed(0)
    model = Linformer(LinformerConfig(**(TINY | overrides)), bind("pytorch")).double().eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, 0, 0.3)
    return model


def attended_by_loops(projections, q, k, v, length):
    """Equation 7 for one text, head by head and slot by slot; ``length`` tokens are no padding."""
    out = torch.zeros_like(q)
    for head in range(q.shape[1]):
        slots = []
        for projection, x in zip(projections, (k, v), strict=True):
            x = x[:length, head]
            if projection.kind == "linear":
                slots.append(projection.matrix[min(head, len(projection.matrix) - 1), :, :length] @ x)
                continue
            rows = []
            for start in range(0, length, projection.stride):
                part = x[start : start + projection.stride]
                if projection.kind == "conv":
                    taps = projection.taps.unflatten(1, q.shape[1:])[: len(part), head]
                    rows.append((part * taps).sum(0))
                else:
                    rows.append(part.mean(0) if projection.kind == "mean" else part.amax(0))
            slots.append(torch.stack(rows))
        keys, values = slots
        out[:, head] = (q[:, head] @ keys.T / q.shape[2] ** 0.5).softmax(-1) @ values
    return out


@pytest.mark.parametrize("sharing", SHARING)
@pytest.mark.parametrize("projection", PROJECTIONS)
def test_attention_against_loops(projection, sharing):
    model = make(projection=projection, sharing=sharing)
    attention = model.blocks[1].attention
    x = torch.randn(2, 23, 12).double()
    lengths = (23, 9)
    valid = torch.arange(23) < torch.tensor(lengths)[:, None]
    keys = attention.keys or model.shared
    projections = (keys, attention.values or keys)
    out = attention.attended(x, valid, model.shared)
    for row, length in enumerate(lengths):
        q, k, v = (part[row] for part in attention.projected(x))
        expected = attended_by_loops(projections, q, k, v, length)
        torch.testing.assert_close(out[row, :length], expected[:length], rtol=0, atol=1e-12)


@pytest.mark.parametrize("projection", PROJECTIONS)
def test_padding_changes_nothing(projection):
    model = make(projection=projection)
    ids = torch.randint(0, 40, (3, 24))
    lengths = (24, 17, 1)
    valid = torch.arange(24) < torch.tensor(lengths)[:, None]
    padded = model(ids, valid)
    for row, length in enumerate(lengths):
        alone = model(ids[row : row + 1, :length])
        torch.testing.assert_close(padded[row : row + 1, :length], alone, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("sharing", "matrices"), [("none", 2 * 2 * 3), ("heads", 2 * 2), ("key-value", 2), ("layers", 1)]
)
def test_sharing_counts_matrices_as_published(sharing, matrices):
    """Of two layers of three heads; 24 matrices of 12 layers are shared by heads, 12 with keys and values, 1 by all."""
    model = make(sharing=sharing)
    numbers = [p.numel() for name, p in model.named_parameters() if name.endswith("matrix")]
    assert sum(numbers) == matrices * 6 * 24
    assert len(model.state_dict()) == len({tensor.data_ptr() for tensor in model.state_dict().values()})


@pytest.mark.parametrize("projection", PROJECTIONS)
def test_every_weight_gets_a_gradient(projection):
    model = make(projection=projection, sharing="key-value").train()
    ids = torch.randint(0, 40, (2, 24))
    model.head.nll(model(ids), ids).mean().backward()
    assert [name for name, weight in model.named_parameters() if weight.grad is None] == []


def test_every_token_sees_the_future():
    """Which is why there is no causal Linformer."""
    model = make()
    ids = torch.randint(0, 40, (1, 24))
    other = ids.clone()
    other[0, -1] = (other[0, -1] + 1) % 40
    assert not torch.equal(model(ids)[:, 0], model(other)[:, 0])


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [({"num_slots": 25}, "num_slots = 25 is more than max_len"), ({"projection": "mean", "num_slots": 7}, "multiple")],
)
def test_slots_that_do_not_fit_are_refused(overrides, reason):
    with pytest.raises(SeqmemError, match=reason):
        encoder_config("linformer", **(TINY | overrides))

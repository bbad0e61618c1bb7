"""Operations as they are counted for utilisation, against those that torch sees a model carry out."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from seqmem.errors import SeqmemError
from seqmem.models import build_model
from seqmem.ops import Band, bind
from seqmem.report.operations import operations_a_token

SIZES = dict(num_layers=3, d_model=24, num_heads=2, head_dim=8, d_inner=40, segment_len=12, pre_norm=True)
BATCH = 2
MODELS: dict[str, dict] = {
    "transformer": {},
    "transformer-xl": {"mem_len": 20},
    "transformer-xl, no memory": {"mem_len": 0},
    "transformer-xl, by layer": {"mem_len": (5, 30, 0), "attention_range": (4, -1, 9)},
    "compressive": {"mem_len": 12, "cmem_len": 4, "compression_rate": 3, "compression": "mean"},
}


def make(label: str):
    return build_model(f"{label.partition(',')[0]}/tiny", bind("pytorch"), **SIZES, **MODELS[label])


def attention(passes: int, q, k, r, numbers) -> int:
    """What attention multiplies of the scores that its band shows, twice for the multiplying and the adding."""
    num_products = 2 if r is None else 3
    return passes * 2 * num_products * q[0] * q[2] * q[3] * int(Band(*numbers).to_mask(q[1], k[1]).sum())


SEEN = {
    torch.ops.seqmem.attend: lambda *given, out_shape: attention(1, given[0], given[1], given[5], given[11]),
    torch.ops.seqmem.attend_backward: lambda *given, out_shape: attention(2, given[5], given[6], given[10], given[16]),
}


def in_full_memory(model):
    """A state from which every later segment finds all slots filled."""
    state = model.init_state(BATCH)
    with torch.no_grad():
        for _ in range(6):
            state = model(torch.zeros(BATCH, model.config.segment_len, dtype=torch.int64), state).state
    return state


@pytest.mark.parametrize("label", MODELS)
def test_it_is_what_torch_counts_less_the_projections_of_memory_and_positions(label):
    model, counter = make(label), FlopCounterMode(display=False, custom_mapping=SEEN)
    state = in_full_memory(model)
    tokens = torch.zeros(BATCH, model.config.segment_len, dtype=torch.int64)
    projection = 2 * model.config.d_model * model.config.num_heads * model.config.head_dim
    slots = sum(model.num_slots(layer) for layer in range(3))
    positions = 0
    if hasattr(model, "position_projections"):
        positions = sum(model.band(layer, model.num_slots(layer) + 12).num_columns for layer in range(3))
    with counter:
        out = model(tokens, state)
        loss = model.head.nll(out.hidden, tokens).mean()
        forward = counter.get_total_flops()
        loss.backward()
    useful = operations_a_token(model) * tokens.numel()
    memory = BATCH * slots * 2 * projection
    assert forward == pytest.approx(useful / 3 + memory + positions * projection, rel=1e-12)
    # Positions themselves want no gradient.
    assert counter.get_total_flops() == pytest.approx(useful + 3 * memory + 2 * positions * projection, rel=1e-12)


def test_it_is_palms_formula_for_a_plain_transformer():
    model = make("transformer")
    weights = sum(p.numel() for p in model.blocks.parameters() if p.dim() == 2) + model.head.weight.numel()
    mean_keys = (model.config.segment_len + 1) / 2
    assert operations_a_token(model) == 6 * weights + 12 * 3 * 2 * 8 * mean_keys


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("transformer-xl", {"cutoffs": (20, 100)}, "TransformerXL with AdaptiveSoftmax are not counted; give"),
        ("lstm", {}, "LSTM with TiedSoftmax are not counted; give a transformer with a softmax"),
    ],
)
def test_what_cannot_be_counted_is_refused(name, options, message):
    with pytest.raises(SeqmemError, match=message):
        operations_a_token(build_model(f"{name}/tiny", bind("pytorch"), **options))

"""Training with memory emptied at a document's end: what a step loses, and that a run goes on to the bit."""

import numpy as np
import pytest
import torch

from seqmem.config import BMIConfig, Recipe, TrainConfig
from seqmem.data.documents import Documents
from seqmem.errors import SeqmemError
from seqmem.models import build_model
from seqmem.ops import bind
from seqmem.schema import validated
from seqmem.train.checkpoint import find_checkpoint, load
from seqmem.train.next_token import NextToken
from seqmem.train.optim import build_optimizer, learning_rate
from seqmem.train.session import Session
from seqmem.train.setup import starting_point
from seqmem.train.trainer import train

BOS = 0
SIZES = [15, 4, 21, 1, 9]
MODELS = {
    "transformer-xl": {"segment_len": 4, "mem_len": 6},
    "transformer-xl, two segments a call": {"segment_len": 4, "mem_len": 6, "bptt_segments": 2},
    "compressive": {"segment_len": 4, "mem_len": 4, "cmem_len": 4, "compression_rate": 2},
    "reformer": {"segment_len": 4, "mem_len": 4, "chunk_len": 2, "num_buckets": 1},
    "titans-mag": {"segment_len": 4},
    "lstm": {"segment_len": 4},
}


def documents() -> Documents:
    tokens = np.random.default_rng(1).integers(1, 30, sum(SIZES))
    starts = np.cumsum([0, *SIZES[:-1]])
    tokens[starts] = BOS
    return Documents(tokens, starts, (BOS,))


def make(label: str):
    """A model in float64 that does the same in every call, though it trains."""
    torch.manual_seed(0)
    model = build_model(f"{label.partition(',')[0]}/tiny", bind("pytorch"), vocab_size=30, **MODELS[label])
    for block in getattr(model, "blocks", ()):
        if label == "reformer":
            block.attention.draw = lambda: None
    return model.double()


def start(label: str, batch_size: int = 1, **training) -> Session:
    model = make(label)
    config = TrainConfig(batch_size=batch_size, lr=1e-3, warmup_steps=0, grad_clip=1e6, **training)
    objective = NextToken("reset")
    return Session(model, objective.stream(documents(), model.config, batch_size), config, objective)


def calls(label: str):
    """What one row reads of each document in turn: inputs, targets without the filling, whether it begins."""
    text, model = documents(), make(label)
    length, period = model.config.unroll_len, model.config.period
    for start, size in zip(text.starts, text.sizes, strict=True):
        room = -(-size // period) * period if period > length else -(-size // length) * length
        padded = np.concatenate([text.tokens[start : start + size], np.full(room - size + 1, BOS)])
        for begin in range(0, room, length):
            inputs = torch.from_numpy(padded[begin : begin + length])[None]
            targets = torch.from_numpy(padded[begin + 1 : begin + length + 1])[None]
            yield inputs, targets, min(length, max(0, size - begin)), begin == 0


@pytest.mark.parametrize("label", MODELS)
def test_steps_are_those_of_documents_read_one_after_the_other(label):
    """The oracle begins every document with a fresh state, and leaves the filling's losses out."""
    session, twin = start(label), make(label).train()
    config = TrainConfig(batch_size=1, lr=1e-3, warmup_steps=0)
    optimizer = build_optimizer(twin, config)
    auxiliary = set(twin.auxiliary_parameters())
    assert session.model.config.period >= 4
    state = None
    for step, (inputs, targets, num_text, is_new) in enumerate(calls(label), 1):
        session.step()
        out = twin(inputs, twin.init_state(1) if is_new else state)
        state = out.state.detach()
        nll = twin.head.nll(out.hidden, targets)[:, :num_text]
        loss = nll.sum() / max(1, num_text)
        assert session.counters.recent_losses["loss"][-1] == pytest.approx(loss.item(), rel=1e-9)
        optimizer.zero_grad()
        (loss + sum(out.losses.values())).backward()
        for parameter in twin.parameters():
            if label == "titans-mag" and parameter.grad is None:  # first weights where no document begins
                parameter.grad = torch.zeros_like(parameter)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, config)
        optimizer.step()
        twin.constrain()
        for name, parameter in session.model.named_parameters():
            if parameter not in auxiliary:
                torch.testing.assert_close(parameter, twin.get_parameter(name), rtol=1e-7, atol=1e-9)


def test_rows_of_a_batch_empty_their_memories_each_in_its_time():
    session, objective = start("transformer-xl", 3), NextToken("reset")
    rows = [start("transformer-xl") for _ in range(3)]
    stream = objective.stream(documents(), session.model.config, 3)
    states = [session.model.init_state(1) for _ in rows]
    for row in rows:
        row.model.load_state_dict(session.model.state_dict())
    for _ in range(40):
        inputs, targets, scored, begins = batch = stream.next()
        nats = []
        for row in range(3):
            if begins[row]:
                states[row] = session.model.init_state(1)
            out = session.model(inputs[row : row + 1], states[row])
            states[row] = out.state.detach()
            nats.append(session.model.head.nll(out.hidden, targets[row : row + 1])[0][scored[row]])
        found, session._memory = objective.losses(session.model, batch, session._memory)
        assert found["loss"].item() == pytest.approx(torch.cat(nats).mean().item(), rel=1e-9)


def test_filling_is_left_out_of_bmi():
    session = start("transformer-xl", 2, bmi=BMIConfig(weight=0.1, segment_len=2))
    seen = []
    session._bmi.losses = lambda model, inputs, step: (seen.append(inputs), (inputs.sum() * 0.0, {}))[1]
    stream = NextToken("reset").stream(documents(), session.model.config, 2)
    for _ in range(30):
        session.step()
        inputs, _, scored, _ = stream.next()
        if scored.all():
            assert seen.pop().equal(inputs)
        else:
            assert not seen, "two rows are needed"


@pytest.fixture
def resetting(recipe) -> Recipe:
    return recipe.model_copy(update={"train": recipe.train.model_copy(update={"at_document_end": "reset"})})


def test_a_run_says_what_becomes_of_memory(recipe, resetting, tmp_path, console):
    for name, given, said in (
        ("carry", recipe, "streams    2, memory carried from document to document"),
        ("reset", resetting, "streams    2, memory emptied at each document's beginning; 0."),
    ):
        train(given, tmp_path / name, console=console)
        assert said in console.file.getvalue()
    assert "% of what is read is filling" in console.file.getvalue()


@pytest.mark.parametrize("update_every", [1, 3])
def test_a_run_goes_on_to_the_bit(resetting, tmp_path, console, interrupted, update_every):
    training = resetting.train.model_copy(update={"update_every": update_every})
    recipe = resetting.model_copy(update={"train": training})
    whole = train(recipe, tmp_path / "whole", console=console)
    with interrupted(before=7):
        train(recipe, tmp_path / "run", console=console)
    run = train(recipe, tmp_path / "run", console=console)
    for name in ("model.safetensors", "trainer.safetensors"):
        assert (find_checkpoint(run) / name).read_bytes() == (find_checkpoint(whole) / name).read_bytes()


def test_a_run_is_not_gone_on_with_in_the_other_way(resetting, recipe, tmp_path, console):
    run = train(resetting, tmp_path / "run", console=console)
    with pytest.raises(SeqmemError, match=r"was begun with another train\.at_document_end"):
        starting_point(recipe, run, resume=True)


def test_stages_begin_where_memory_may(resetting, tmp_path, console):
    stages = [
        {"steps": 3, "lr": 1e-2, "model": {"segment_len": 5, "mem_len": 6}},
        {"steps": 4, "lr": 5e-3, "model": {"segment_len": 8}},
        {"steps": 5, "lr": 5e-3, "model": {"segment_len": 4, "mem_len": 2}, "batch_size": 1},
    ]
    values = resetting.model_dump()
    values["train"] |= {"stages": stages}
    recipe = validated(Recipe, values, "test")
    seen = []
    original = Session.go_on

    def go_on(self: Session, *args) -> None:
        original(self, *args)
        seen.append((self.batches.cursor, self.batches.period))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Session, "go_on", go_on)
        run = train(recipe, tmp_path / "run", console=console)
    assert seen == [(8, 8), (40, 4)]
    assert load(run).config.segment_len == 4


@pytest.mark.parametrize(
    ("section", "value", "more"),
    [
        ("train", "reset", {"masking": {}}),
        ("eval", "carry", {"masking": {}}),
        ("train", "reset", {"recall": {"task": "copy"}, "tokenizer": {"kind": "bytes"}}),
        ("eval", "reset", {"task": {"kind": "classification"}}),
    ],
)
def test_who_does_not_read_on_is_told_so(section, value, more):
    recipe = dict(name="r", description="d", model={"name": "transformer", "size": "tiny"}, **more)
    with pytest.raises(SeqmemError, match=f"{section}.at_document_end is of models that read text on and on; leave it"):
        validated(Recipe, recipe | {section: {"at_document_end": value}}, "recipe")


def test_what_is_neither_is_an_error():
    with pytest.raises(SeqmemError, match=r"train: key 'at_document_end' = 'drop': input should be 'carry' or 'reset'"):
        validated(TrainConfig, {"at_document_end": "drop"}, "train")

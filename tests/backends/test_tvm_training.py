"""Models that train, carry their memory and are compiled on this backend as on the one of plain PyTorch."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from seqmem.models import MODELS, build_model
from seqmem.models.base import CausalModel
from seqmem.ops import Band, bind
from seqmem.testing import check_state_law

SIZES = {
    "transformer-xl": {"segment_len": 16, "mem_len": 24, "num_layers": 2},
    "compressive": {"segment_len": 16, "mem_len": 16, "cmem_len": 8, "compression_rate": 2, "num_layers": 2},
    "sha-rnn": {"segment_len": 16, "mem_len": 24, "num_layers": 2},
    "transformer": {"segment_len": 32, "num_layers": 2},
    "lstm": {"segment_len": 16},
    "wavenet": {"segment_len": 16},
    "adaptive-span": {"segment_len": 16, "max_span": 40},
    "bigbird-lm": {"segment_len": 32},
    "light-conv": {"segment_len": 16, "weight_dropout": 0.0},
    "longformer-lm": {"segment_len": 16, "window": (5, 9)},
    "sparse-transformer": {"segment_len": 32, "pattern": "strided"},
    "linear-transformer": {"carry": True},
    "performer": {"carry": True, "redraw_every": 0},
    "reformer": {},
    "titans-lmm": {},
    "titans-mac": {"segment_len": 20},
    "titans-mag": {},
    "titans-mal": {},
    "feedback": {},
}


def make(name: str, backend: str) -> CausalModel:
    """A tiny model whose weights are so large that every term of attention shows."""
    torch.manual_seed(0)
    model = build_model(f"{name}/tiny", bind(backend), vocab_size=30, **SIZES[name])
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, 0, 0.15)
    return model


def trained(name: str, backend: str, dtype: torch.dtype) -> tuple[list[float], dict[str, torch.Tensor]]:
    """Losses of three steps, memory carried from each to the next, and the last gradients by parameter."""
    model = make(name, backend).to(dtype)
    optimizer = torch.optim.SGD(model.parameters(), 0.5)
    text = torch.arange(200).square().remainder(29).repeat(2, 1)
    state, found = None, []
    for start in range(0, 3 * 32, 32):
        out = model(text[:, start : start + 32], state)
        state = out.state.detach()
        loss = model.head.nll(out.hidden, text[:, start + 1 : start + 33]).mean() + sum(out.losses.values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        found.append(loss.item())
    return found, {
        key: parameter.grad.double() for key, parameter in model.named_parameters() if parameter.grad is not None
    }


@pytest.mark.parametrize("name", MODELS)
def test_training_goes_as_with_pytorch(name: str):
    losses, gradients = trained(name, "tvm", torch.float32)
    wanted_losses, wanted = trained(name, "pytorch", torch.float32)
    assert losses == pytest.approx(wanted_losses, abs=1e-5)
    assert losses[-1] != pytest.approx(losses[0], abs=1e-2)
    assert gradients.keys() == wanted.keys()
    _, exact = trained(name, "pytorch", torch.float64)
    for key, gradient in gradients.items():
        rounding = (wanted[key] - exact[key]).norm()
        assert (gradient - wanted[key]).norm() <= 1e-4 * wanted[key].norm() + 1e-7 + rounding, key


@pytest.mark.parametrize("name", ["transformer-xl", "compressive", "longformer-lm", "sparse-transformer", "light-conv"])
def test_state_law(name: str):
    model = make(name, "tvm").double().eval()
    text = torch.arange(3 * model.config.turnover + 1).square().remainder(29).repeat(2, 1)
    results = check_state_law(model, text)
    assert len(results) >= 8
    assert all(result.passed for result in results), results


@pytest.mark.parametrize("name", ["transformer-xl", "compressive", "longformer-lm"])
def test_a_whole_model_compiles_to_one_graph(name: str):
    model, text = make(name, "tvm").eval(), torch.arange(16).repeat(2, 1)
    state = model(text).state
    compiled = torch.compile(lambda inputs: model(inputs, state).hidden, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(text), model(text, state).hidden)


class Attended(Dataset):
    """Items that attention makes of their index, in whatever process asks for them."""

    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> torch.Tensor:
        q = torch.arange(40.0).view(1, 10, 1, 4).sin() * index
        return bind("tvm").attend(q, q, q, Band(3))[0]


def test_forked_loaders_attend():
    here = [Attended()[index] for index in range(3)]
    loader = DataLoader(Attended(), batch_size=None, num_workers=1, multiprocessing_context="fork", timeout=60)
    for got, wanted in zip(loader, here, strict=True):
        assert torch.equal(got, wanted)


def test_a_recipe_trains_from_the_command_line(tmp_path: Path):
    (tmp_path / "book.txt").write_text("\n".join(f"Line {n} tells of {n * n} ships." for n in range(3000)))
    changes = {"tokenizer.kind": "bpe", "tokenizer.vocab_size": 300, "model.num_layers": 2, "train.steps": 2}
    settings = [word for key, value in changes.items() for word in (f"--{key}", str(value))]
    command = [sys.executable, "-m", "seqmem", "train", "pg19", "--backend", "tvm", "--data", str(tmp_path)]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(
        [*command, "--run", "run", *settings], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    records = map(json.loads, (tmp_path / "run/metrics.jsonl").read_text().splitlines())
    assert any("loss" in record for record in records)

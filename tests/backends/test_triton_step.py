"""Steps of generation by Triton: what the model itself gives, also when its launches are recorded and repeated."""

from collections.abc import Callable, Iterator
from itertools import zip_longest
from typing import Any

import pytest
import torch
from seqmem.backends.triton import graph, launch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes

from seqmem.models import build_model
from seqmem.models.base import CausalModel
from seqmem.models.segmented_step import SegmentedStep
from seqmem.ops import bind

MODELS = {
    "transformer-xl, by layer": {"segment_len": 5, "mem_len": (13, 2), "attention_range": (4, -1), "untie_uv": True},
    "transformer-xl, columns in parts": {"segment_len": 3, "mem_len": 300, "num_layers": 1, "pre_norm": True},
    "compressive": {"segment_len": 3, "mem_len": 5, "cmem_len": 4, "compression_rate": 2},
    "transformer": {"segment_len": 7, "num_layers": 1, "head_dim": 24},
}


class Recorder(TorchDispatchMode):
    """A CUDA graph's stand-in: what was done once is done again, on the same memory with the same numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[Callable[[], None]] = []

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))

        def again() -> None:
            repeated = function(*args, **(kwargs or {}))
            outputs = (result, repeated) if isinstance(result, tuple | list) else ([result], [repeated])
            for output, value in zip_longest(*outputs):
                if isinstance(output, Tensor) and output.data_ptr() != value.data_ptr():
                    output.copy_(value)

        self.calls.append(again)
        return result


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Recorder]]:
    """Every recording that is made; steps are repeated from it as a GPU would repeat them."""
    recorders: list[Recorder] = []
    queue = launch.queue

    def queue_and_record(*arguments: Any) -> None:
        is_recording = bool(torch._C._len_torch_dispatch_stack())
        with _disable_current_modes():
            queue(*arguments)
        if is_recording:
            recorders[-1].calls.append(lambda: queue(*arguments))

    def captured(body: Callable[[], Tensor], device: torch.device) -> Callable[[], Tensor]:
        recorders.append(Recorder())
        with recorders[-1] as recorder:
            result = body()

        def replay() -> Tensor:
            for call in recorder.calls:
                call()
            return result

        return replay

    monkeypatch.setattr(launch, "queue", queue_and_record)
    monkeypatch.setattr(graph, "captured", captured)
    return recorders


def make(label: str) -> CausalModel:
    torch.manual_seed(0)
    model = build_model(f"{label.partition(',')[0]}/tiny", bind("triton"), num_heads=2, **MODELS[label]).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, 0, 0.2)
    return model


def tokens(length: int) -> Tensor:
    return torch.randint(0, 256, (2, length), generator=torch.Generator().manual_seed(1))


def hidden_by_steps(model: CausalModel, step: Any, ids: Tensor) -> Tensor:
    return torch.stack([step(token) for token in ids.unbind(1)], 1)


@pytest.mark.parametrize("label", MODELS)
@torch.no_grad()
def test_recorded_steps_are_the_forward_pass(label: str, recorded: list[Recorder]):
    model = make(label)
    ids = tokens(9)
    step = model.generation_step(model.init_state(2))
    assert isinstance(step, SegmentedStep)
    hidden = hidden_by_steps(model, step, ids)
    torch.testing.assert_close(hidden, model(ids).hidden, rtol=1e-4, atol=1e-4)
    assert 1 <= len(recorded) <= 3  # anew only where columns cease to be off
    assert all(len(recorder.calls) > 10 for recorder in recorded)

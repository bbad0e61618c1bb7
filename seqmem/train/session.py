"""All that changes from step to step: weights, optimizer moments, memory, place in the data, random numbers."""

import json
import math
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Generic

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from seqmem.config import TrainConfig
from seqmem.errors import SeqmemError
from seqmem.layers.admin import profile
from seqmem.models.base import CausalModel
from seqmem.state import State
from seqmem.train.bmi import MutualInformation
from seqmem.train.next_token import NEXT_TOKEN
from seqmem.train.objective import Batch, Batches, M, Objective
from seqmem.train.optim import build_optimizer, learning_rate
from seqmem.train.precision import computing


@dataclass
class Counters:
    """Where training stands.

    Attributes:
        num_threads: torch threads; training repeats bit for bit on the CPU for an equal number.
        step: steps taken.
        cursor: place in the data, as the objective's batches count it.
        norms: of the gradients of the last update, before clipping; 0 when there was none yet.
        seconds: time spent in steps, over all sessions.
        recent_losses: of the steps since the last logged one: ``loss`` in nats a token, ``auxiliary/NAME`` the others.
        recent_seconds: time spent in those.
    """

    num_threads: int
    step: int = 0
    cursor: int = 0
    norms: dict[str, float] = field(default_factory=lambda: {"grad_norm": 0.0})
    seconds: float = 0.0
    recent_losses: dict[str, list[float]] = field(default_factory=dict)
    recent_seconds: float = 0.0


class Session(Generic[M]):
    """A model in training: takes steps, and can be saved between two of them and restored.

    Args:
        model: on the device to train on.
        batches: what steps read.
        config: the recipe's training section.
        objective: what steps lose.
    """

    def __init__(self, model: M, batches: Batches, config: TrainConfig, objective: Objective[Any] = NEXT_TOKEN):
        self.model = model.train()
        self.optimizer = build_optimizer(model, config)
        self.counters = Counters(torch.get_num_threads())
        self.device = next(model.parameters()).device
        self.batches = batches
        self._config = config
        self._objective = objective
        self._memory = self._objective.init_state(model, config.batch_size)
        auxiliary = model.auxiliary_parameters()
        others = set(model.parameters()) - set(auxiliary)
        self._clipped = {"grad_norm": [parameter for parameter in model.parameters() if parameter in others]}
        if auxiliary:
            self._clipped["auxiliary_grad_norm"] = auxiliary
        self._bmi = None
        if config.bmi.is_on:
            assert isinstance(model, CausalModel)
            self._bmi = MutualInformation(config.bmi, model)
            self._clipped["critic_grad_norm"] = [*self._bmi.critic.parameters()]
            self.optimizer.add_param_group({"params": self._clipped["critic_grad_norm"], "weight_decay": 0.0})

    def go_on(self, model: M, batches: Batches, config: TrainConfig) -> None:
        """Train on with the same weights under other lengths, from the same place; the memory begins empty.

        Args:
            model: has the very parameters of the one before.
            batches, config: as above.
        """
        self.model = model.train()
        self.batches = batches
        self.batches.cursor = self.counters.cursor - self.counters.cursor % batches.period
        self._config = config
        self._memory = self._objective.init_state(model, config.batch_size)

    def begin(self) -> None:
        """Before the first step of all: have the model set what is for a first batch to set; steps read it again."""
        place = self.batches.cursor
        profile(self.model, lambda: self._losses(self._next()))
        self.batches.cursor = place

    def step(self) -> dict[str, float]:
        """Train on the next batch; return the last update's norms: ``grad_norm``, and of what is clipped apart.

        Raises:
            FloatingPointError: a loss or a gradient is not finite; the weights are left as they were.
        """
        start = time.perf_counter()
        counters = self.counters
        counters.step += 1
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(counters.step, self._config)
        accumulating = counters.step - self._config.update_every_after
        num_accumulated = self._config.update_every if accumulating > 0 else 1

        batch = self._next()
        losses, memory = self._losses(batch)
        regulariser, parts = self._regularise(batch)
        summands = torch.stack([*losses.values()])
        ((summands.sum() + regulariser) / num_accumulated).backward()
        told = losses | parts
        values = dict(zip(told, torch.stack([*told.values()]).tolist(), strict=True))
        self._check_finite(values)
        if accumulating % num_accumulated == 0:
            self._update()
        self._memory = memory.detach()

        counters.cursor = self.batches.cursor
        for name, value in values.items():
            counters.recent_losses.setdefault(name, []).append(value)
        elapsed = time.perf_counter() - start
        counters.recent_seconds += elapsed
        counters.seconds += elapsed
        return counters.norms

    def _next(self) -> Batch:
        return tuple(tensor.to(self.device) for tensor in self.batches.next())

    def _losses(self, batch: Batch) -> tuple[dict[str, Tensor], State]:
        """A batch's losses, and the memory after it."""
        with computing(self._config, self.device):
            return self._objective.losses(self.model, batch, self._memory)

    def _regularise(self, batch: Batch) -> tuple[Tensor | float, dict[str, Tensor]]:
        """What is added to the loss of a step, and what to log of it."""
        if self._bmi is None:
            return 0.0, {}
        assert isinstance(self.model, CausalModel)
        texts = self._objective.texts(batch)
        if len(texts) < 2:
            return 0.0, {}
        with computing(self._config, self.device):
            return self._bmi.losses(self.model, texts, self.counters.step)

    def _update(self) -> None:
        """Change the weights by the gradient accumulated so far, each group of parameters clipped by its own norm."""
        norms = {name: _gradient_norm(parameters) for name, parameters in self._clipped.items()}
        self.counters.norms = {name: norm.item() for name, norm in norms.items()}
        self._check_finite(self.counters.norms)
        for name, parameters in self._clipped.items():
            nn.utils.clip_grads_with_norm_(parameters, self._config.grad_clip, norms[name])
        self.optimizer.step()
        self.model.constrain()
        self.optimizer.zero_grad()

    def _check_finite(self, values: dict[str, float]) -> None:
        if bad := [f"{name} {value}" for name, value in values.items() if not math.isfinite(value)]:
            raise FloatingPointError(f"step {self.counters.step}: {', '.join(bad)}")

    def take_recent(self) -> tuple[dict[str, list[float]], float]:
        """Losses of the steps since the last call, and the seconds they took."""
        counters = self.counters
        losses, seconds = counters.recent_losses, counters.recent_seconds
        counters.recent_losses, counters.recent_seconds = {}, 0.0
        return losses, seconds

    def save(self, folder: Path) -> None:
        """Write ``trainer.json`` and ``trainer.safetensors``; the weights are saved with the model."""
        (folder / "trainer.json").write_text(json.dumps(asdict(self.counters), indent=2))
        save_file(self._tensors(), folder / "trainer.safetensors")

    def restore(self, folder: Path) -> None:
        """Take up what :meth:`save` wrote.

        Raises:
            SeqmemError: the files are missing, damaged or another model's.
        """
        try:
            self.counters = Counters(**json.loads((folder / "trainer.json").read_text()))
            # A loaded tensor is a view of the file at any address; kernels round alike only on equally aligned memory.
            tensors = {name: view.clone() for name, view in load_file(folder / "trainer.safetensors").items()}
            self._restore_tensors(tensors)
        except (OSError, ValueError, TypeError, KeyError, SafetensorError) as error:
            raise SeqmemError(f"{folder}: training cannot go on from here ({error}); remove this checkpoint") from None
        self.batches.cursor = self.counters.cursor
        # The order of a sum depends on the number of threads, so the run keeps it unless told otherwise.
        torch.set_num_threads(self._config.num_threads or self.counters.num_threads)
        self.counters.num_threads = torch.get_num_threads()

    def _parameters(self) -> dict[str, nn.Parameter]:
        """What the optimizer trains, by name."""
        critic = self._bmi.critic.named_parameters() if self._bmi else ()
        return {**dict(self.model.named_parameters()), **{f"critic.{name}": parameter for name, parameter in critic}}

    def _tensors(self) -> dict[str, Tensor]:
        tensors = {f"memory.{name}": tensor for name, tensor in self._memory.tensors().items()}
        for name, parameter in self._parameters().items():
            for moment, tensor in self.optimizer.state[parameter].items():
                tensors[f"optimizer.{moment}.{name}"] = tensor
            if parameter.grad is not None:
                tensors[f"gradient.{name}"] = parameter.grad
        if self._bmi:
            tensors |= {f"critic.{name}": tensor for name, tensor in self._bmi.critic.state_dict().items()}
        tensors["random.cpu"] = torch.get_rng_state()
        if self.device.type == "cuda":
            tensors["random.cuda"] = torch.cuda.get_rng_state(self.device)
        # Rows of a memory may overlap or share their storage; safetensors wants each tensor on its own.
        return {name: tensor.clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()}

    def _restore_tensors(self, tensors: dict[str, Tensor]) -> None:
        parameters = self._parameters()
        memory, critic = {}, {}
        for key, tensor in tensors.items():
            section, _, rest = key.partition(".")
            if section == "memory":
                memory[rest] = tensor
            elif section == "critic":
                critic[rest] = tensor
            elif section == "optimizer":
                moment, _, name = rest.partition(".")
                self.optimizer.state[parameters[name]][moment] = tensor.to(self.device)
            elif section == "gradient":
                parameters[rest].grad = tensor.to(self.device)
        if self._bmi:
            self._bmi.critic.load_state_dict(critic)
        self._memory = self._memory.restore(memory).to(self.device)
        torch.set_rng_state(tensors["random.cpu"])
        if self.device.type == "cuda" and "random.cuda" in tensors:
            torch.cuda.set_rng_state(tensors["random.cuda"], self.device)


def _gradient_norm(parameters: list[nn.Parameter]) -> Tensor:
    return nn.utils.get_total_norm([parameter.grad for parameter in parameters if parameter.grad is not None])

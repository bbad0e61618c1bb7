"""Speed of several recipes side by side: they take turns in one process, and medians are compared."""

import os
import platform
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from pydantic import ValidationError
from rich.console import Console

from seqmem.config import Recipe
from seqmem.data.vocabulary import TokenArray
from seqmem.generate.sampling import Sampler
from seqmem.models.base import CausalModel
from seqmem.ops import bind
from seqmem.report.runs import read_data, settings_of, tokens_a_step
from seqmem.report.say import say
from seqmem.schema import Section
from seqmem.train.session import Session
from seqmem.train.setup import prepare_data, start_session

ROUNDS = 8
STEPS_A_ROUND = 4
GENERATED_TOKENS = 100  # at least; a whole segment where that is longer


class Machine(Section):
    """What speeds were measured on."""

    processor: str
    num_cores: int
    num_threads: int
    torch: str

    def __str__(self) -> str:
        plural = "s" * (self.num_threads > 1)
        return f"{self.processor}, {self.num_cores} cores, {self.num_threads} thread{plural} a run, torch {self.torch}"


class Speed(Section):
    """A model's size, and its tokens a second in training and in generation (batch 1, memory filled by a prompt)."""

    num_parameters: int
    training: float
    generation: float


class Speeds(Section):
    """Speeds by name, the settings they belong to, and the machine."""

    machine: Machine
    settings: dict[str, dict[str, Any]]
    speeds: dict[str, Speed]


def side_by_side(recipes: Mapping[str, Recipe], run: Path | None, file: Path, console: Console) -> Speeds:
    """The speeds in ``file`` if they are of these recipes and this machine, else measured now and kept there.

    Args:
        recipes: by name, all of the same data, tokenizer or codec, and number of threads.
        run: a run whose tokens to use; without one, they are made as in a new run and put beside ``file``.
        file: where speeds are kept.
        console: where to say that it takes a while.
    """
    settings = {name: settings_of(recipe) for name, recipe in recipes.items()}
    machine = this_machine(next(iter(recipes.values())).train.num_threads)
    kept = _read(file)
    if kept and (kept.machine, kept.settings) == (machine, settings):
        return kept
    say(console, f"Measuring the speed of {len(recipes)} models side by side ...")
    measured = Speeds(machine=machine, settings=settings, speeds=_measure_apart(recipes, run, file.parent))
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(measured.model_dump_json(indent=2) + "\n")
    return measured


def take_turns(contenders: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Median seconds of each contender over ``rounds`` in which all run one after the other; one more warms up."""
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(rounds + 1):
        for name, run in contenders.items():
            start = time.perf_counter()
            run()
            if turn:
                times[name].append(time.perf_counter() - start)
    return {name: median(taken) for name, taken in times.items()}


def _read(file: Path) -> Speeds | None:
    try:
        return Speeds.model_validate_json(file.read_text())
    except (FileNotFoundError, ValidationError):
        return None


def _measure_apart(recipes: Mapping[str, Recipe], run: Path | None, folder: Path) -> dict[str, Speed]:
    """Measure in a process of its own, whose memory, threads and random numbers are nobody else's."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(_measure, dict(recipes), run, folder).result()


def _measure(recipes: dict[str, Recipe], run: Path | None, folder: Path) -> dict[str, Speed]:
    first = next(iter(recipes.values()))
    if run:
        vocabulary, corpus = read_data(run, first)
    else:
        vocabulary, corpus = prepare_data(first, folder, None)
    sessions = {
        name: start_session(recipe, vocabulary, corpus, bind(recipe.backend), None) for name, recipe in recipes.items()
    }
    training = take_turns({name: partial(_train, session) for name, session in sessions.items()}, ROUNDS)
    models = {name: session.model.eval() for name, session in sessions.items()}
    validation = corpus.splits["validation"]
    with torch.no_grad():
        generation = take_turns({name: _generator(model, validation) for name, model in models.items()}, ROUNDS)
    return {
        name: Speed(
            num_parameters=model.num_parameters,
            training=STEPS_A_ROUND * tokens_a_step(recipes[name]) / training[name],
            generation=_num_generated(model) / generation[name],
        )
        for name, model in models.items()
    }


def _train(session: Session) -> None:
    for _ in range(STEPS_A_ROUND):
        session.step()


def _num_generated(model: CausalModel) -> int:
    """Tokens made in a round: enough to meet a segment's end, where memory moves."""
    return max(GENERATED_TOKENS, model.config.segment_len)


def _generator(model: CausalModel, tokens: TokenArray) -> Callable[[], None]:
    """Draws on from where it was, at first from a memory filled with the beginning of ``tokens [N]``."""
    prompt = torch.from_numpy(tokens[: model.config.turnover].astype(np.int64))[None]
    prompt = prompt.to(next(model.parameters()).device)
    loop = model.token_loop(model(prompt[:, :-1], model.init_state(1)).state, Sampler())
    last = prompt[:, -1]

    def draw() -> None:
        nonlocal last
        drawn, _ = loop(last, _num_generated(model))
        last = drawn[:, -1]
        last.sum().item()

    return draw


def this_machine(num_threads: int | None = None) -> Machine:
    """What this process runs on; with torch's threads, or with as many as are given."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return Machine(
        processor=next(names, platform.machine()),
        num_cores=os.cpu_count() or 1,
        num_threads=num_threads or torch.get_num_threads(),
        torch=torch.__version__,
    )

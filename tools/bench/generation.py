"""Generating sound: samples a second of streams on cores."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import click
import torch
from measure import report

from seqmem.generate.sampling import Sampler
from seqmem.models import build_model
from seqmem.ops import bind
from seqmem.report.speed import take_turns

MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "wavenet/small": ("wavenet/small", {}),
    "wavenet, 30 layers of 64 channels": (
        "wavenet",
        dict(
            vocab_size=256,
            num_layers=30,
            num_stacks=3,
            residual_channels=64,
            gate_channels=64,
            skip_channels=256,
            segment_len=2048,
        ),
    ),
    "transformer-xl/audio-cpu": ("transformer-xl/audio-cpu", {}),
    "compressive/audio-cpu": ("compressive/audio-cpu", {}),
}
TOKENS = {"wavenet": 40_000, "": 400}
"""Drawn in a turn by all streams together, by model."""
PROMPT_LEN = 1024
"""So that memories are full."""


@dataclass(frozen=True)
class Case:
    """What is measured."""

    model: str
    streams: int
    cores: int

    @property
    def num_tokens(self) -> int:
        """Of a stream, in a turn."""
        return next(count for prefix, count in TOKENS.items() if self.model.startswith(prefix)) // self.streams


CASES = [Case(model, streams, cores) for model in MODELS for streams, cores in ((1, 1), (16, 2))]


@click.command()
@click.option("--json", "json_path", is_flag=False, flag_value="-", help="Write JSON to this path, or print it.")
@click.option("--backend", default="tvm,pytorch", show_default=True)
@click.option("--top-p", default=1.0, show_default=True)
@click.option("--rounds", default=7, show_default=True)
def generation(json_path: str | None, backend: str, top_p: float, rounds: int) -> None:
    """Samples a second, of all streams together, that models with random weights draw; sampling included."""
    drawers = {str(case): drawer(case, backend, top_p) for case in CASES}
    before = torch.get_num_threads()
    seconds = take_turns(drawers, rounds).values()
    torch.set_num_threads(before)
    rates = [case.num_tokens * case.streams / taken for case, taken in zip(CASES, seconds, strict=True)]
    lines = [f"{'':<34} {'streams':>7} {'cores':>5} {'samples/s':>10} {'a stream':>9}"]
    for case, rate in zip(CASES, rates, strict=True):
        lines.append(f"{case.model:<34} {case.streams:>7} {case.cores:>5} {rate:>10,.0f} {rate / case.streams:>9,.0f}")
    rows = [asdict(case) | {"samples_per_second": rate} for case, rate in zip(CASES, rates, strict=True)]
    report({"backend": backend, "top_p": top_p, "generation": rows}, lines, json_path)


def drawer(case: Case, backend: str, top_p: float) -> Callable[[], object]:
    """Goes on, each time from where it was, with streams that all began with the same random samples."""
    size, overrides = MODELS[case.model]
    torch.manual_seed(0)
    model = build_model(size, bind(backend), **overrides).eval()
    prompt = torch.randint(model.config.vocab_size, (1, PROMPT_LEN)).expand(case.streams, -1)
    with torch.no_grad():
        state = model(prompt[:, :-1], model.init_state(case.streams)).state
    loop = model.token_loop(state, Sampler(top_p=top_p))
    last = prompt[:, -1]

    def draw() -> None:
        nonlocal last
        torch.set_num_threads(case.cores)
        tokens, _ = loop(last, case.num_tokens)
        last = tokens[:, -1]

    return draw

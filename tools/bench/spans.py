"""What short spans save: a model with adaptive spans, at spans as they might be learned, taking turns."""

from collections.abc import Callable
from functools import partial
from itertools import product
from typing import Any

import click
import torch
from measure import computed, report, taking_turns
from torch import Tensor

from seqmem.layers.adaptive_span import AdaptiveSpanAttention
from seqmem.models.adaptive_span import AdaptiveSpan, AdaptiveSpanConfig
from seqmem.ops import bind
from seqmem.train.device import keep_freed_memory

SIZE = AdaptiveSpan.SIZES["enwik8-single-gpu"] | dict(segment_len=2048)
SHARES = {
    "every head all of it": lambda heads: torch.ones(heads),
    "every head a quarter": lambda heads: torch.full((heads,), 0.25),
    "one head of four all, the others none": lambda heads: (torch.arange(heads) == 0).float(),
    "every head none": lambda heads: torch.zeros(heads),
}
DIRECTIONS = {"evaluation": False, "training": True}


@click.command()
@click.option("--backend", default="tvm", show_default=True)
@click.option("--rounds", default=5, show_default=True)
@click.option("--json", "json_path", is_flag=False, flag_value="-", help="Write JSON to a path, or - for the screen.")
def spans(backend: str, rounds: int, json_path: str | None) -> None:
    """Time of 2,048 tokens after as many before them, by the share of 1,024 tokens that heads look back over."""
    record: dict[str, Any] = {"size": SIZE}
    lines = [f"adaptive-span, {', '.join(f'{key} {value}' for key, value in SIZE.items())}"]
    seconds = taking_turns(
        {
            f"{direction}, {shares}": partial(passes, backend, shares, backward)
            for (direction, backward), shares in product(DIRECTIONS.items(), SHARES)
        },
        rounds,
    )
    for name, taken in seconds.items():
        times = seconds[f"{name.partition(',')[0]}, {next(iter(SHARES))}"] / taken
        record[name] = {"seconds": taken, "times_full_span": times}
        lines.append(f"{name:<52} {1e3 * taken:>8.0f} ms {times:>6.2f} x")
    report(record, lines, json_path)


def passes(backend: str, shares: str, backward: bool) -> Callable[[], Tensor]:
    torch.manual_seed(0)
    keep_freed_memory()
    model = AdaptiveSpan(AdaptiveSpanConfig(**SIZE), bind(backend)).eval()
    for module in model.modules():
        if isinstance(module, AdaptiveSpanAttention):
            module.span.data.copy_(SHARES[shares](model.config.num_heads))
    before, tokens = torch.randint(model.config.vocab_size, (2, 1, model.config.segment_len))
    with torch.no_grad():
        state = model(before).state
    return computed(lambda: model(tokens, state).hidden, backward)

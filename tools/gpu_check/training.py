"""Steps of ``seqmem train recipes/pg19 --size gpu`` on random tokens, as the trainer takes them."""

import time
from collections.abc import Callable
from statistics import median
from typing import Any

import torch
from attempts import attempt
from clock import matmul_rate
from machine import device_name
from memory import held_and_peak

from seqmem.ops import bind
from seqmem.recipe import load_recipe
from seqmem.report.operations import operations_a_token
from seqmem.train.session import Session
from seqmem.train.setup import new_session

NOMINAL = {"NVIDIA H100 80GB HBM3": 989.4e12, "NVIDIA H200": 989.4e12}
"""Dense bfloat16 operations a second, as NVIDIA states them for the boards with SXM sockets."""
TINY = {
    "tokenizer.vocab_size": 300,
    "model.num_layers": 1,
    "model.d_model": 16,
    "model.num_heads": 1,
    "model.head_dim": 16,
    "model.d_inner": 32,
    "model.segment_len": 8,
    "model.mem_len": 8,
    "train.batch_size": 1,
}


def training(rehearse: bool, found: dict[str, Any]) -> None:
    """Tokens a second, utilisation and peak memory, as it is and then compiled: the same session, memory full.

    Model FLOPs utilisation is of useful operations, against what ``torch.mm`` reaches here and what the device is
    said to reach where that is known.
    """
    device = "cpu" if rehearse else "cuda"
    recipe = load_recipe("recipes/pg19", TINY if rehearse else None, "gpu")
    vocab_size, tokens_a_step = recipe.tokenizer.vocab_size, recipe.train.batch_size * recipe.model["segment_len"]
    tokens = torch.randint(vocab_size, (8 * tokens_a_step,)).numpy()
    session = new_session(recipe, vocab_size, tokens, bind("triton"))
    operations = tokens_a_step * operations_a_token(session.model)
    found |= {"parameters": session.model.num_parameters, "tokens": tokens_a_step, "operations": operations}
    rates = {"of_mm": matmul_rate(device), "of_nominal": NOMINAL.get(device_name(rehearse))}
    variants: dict[str, Callable[[], object]] = {
        "eager": lambda: None,
        "compiled": lambda: session.model.compile(backend="aot_eager" if rehearse else "inductor"),
    }
    for name, prepare in variants.items():
        with attempt(found, name):
            prepare()
            taken, peak = _measured(session, 1 if rehearse else 10, device)
            found[name] = {"tokens_per_second": tokens_a_step / taken, "peak_gigabytes": peak / 1e3}
            found[name] |= {f"mfu_{of}": operations / taken / rate for of, rate in rates.items() if rate}
            print(f"{name:<9} {found[name]}", flush=True)


def _measured(session: Session, num_steps: int, device: str) -> tuple[float, float]:
    """The median step's seconds and the peak megabytes, after steps that fill memory and compile what there is to."""
    times = []

    def steps(number: int) -> None:
        for _ in range(number):
            start = time.perf_counter()
            session.step()
            if device == "cuda":
                torch.cuda.synchronize()
            times.append(time.perf_counter() - start)

    steps(3)
    times.clear()
    _, peak = held_and_peak(lambda: steps(num_steps), device)
    return median(times), peak

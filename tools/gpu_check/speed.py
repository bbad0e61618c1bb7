"""Windowed attention against compiled FlexAttention and a product of matrices, in one run."""

from typing import Any

import torch
from attempts import attempt
from clock import matmul_rate, seconds
from memory import held_and_peak
from windows import FLEX, OURS, Contender, Shape, triton

FULL = (Shape(4, 16_384, 16, 64, 1024), Shape(4, 16_384, 16, 128, 1024))
TINY = Shape(1, 40, 1, 16, 8, "cpu", torch.float16)
MILLION = Shape(1, 1_048_576, 16, 64, 1024)
FORWARD_PRODUCTS, BOTH_PRODUCTS = 2, 7
"""Of queries, keys and values that attention is made of, forward, and forward and backward."""


def attention_speed(rehearse: bool, found: dict[str, Any]) -> None:
    """Teraflops of every contender, and their ratio to the product's, forward, and forward and backward, by width."""
    matmul = matmul_rate("cpu" if rehearse else "cuda")
    found["mm_tflops"] = matmul / 1e12
    for shape in (TINY,) if rehearse else FULL:
        rows = found[f"width {shape.width}"] = {}
        for name, make in (OURS if rehearse else OURS | FLEX).items():
            with attempt(rows, name):
                rows[name] = _rates(name, make(shape), shape, matmul)


def _rates(name: str, contender: Contender, shape: Shape, matmul: float) -> dict[str, dict[str, float]]:
    rows = {}
    ways = {"forward": (contender.forward, FORWARD_PRODUCTS), "both": (contender.both, BOTH_PRODUCTS)}
    for way, (run, products) in ways.items():
        rate = shape.operations(products) / seconds(run, shape.device)
        rows[way] = {"tflops": rate / 1e12, "share_of_mm": rate / matmul}
        text = f"{rate / 1e12:7.1f} TFLOP/s {rate / matmul:6.2f} of mm"
        print(f"{name:<28} D {shape.width:>3} {way:<7} {text}", flush=True)
    return rows


def million_tokens(rehearse: bool, found: dict[str, Any]) -> None:
    """Forward and backward over 1,048,576 tokens on one GPU: seconds, and peak gigabytes, operands included."""
    shape = TINY if rehearse else MILLION
    contender = triton(shape)
    _, peak = held_and_peak(contender.both, shape.device)
    found |= {"seconds": seconds(contender.both, shape.device), "gigabytes": peak / 1e3}
    print(f"T {shape.length:,}: {found['seconds']:.3f} s, {found['gigabytes']:.1f} GB", flush=True)

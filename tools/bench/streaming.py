"""Evaluation of a tenth of a text and of all of it: peak memory, resident memory on the way, speed."""

import resource
import tempfile
import time
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from measure import in_new_process, report
from torch import Tensor, nn

from seqmem.config import DataConfig, TokenizerConfig
from seqmem.data.corpus import load_corpus
from seqmem.data.tokenizer import Tokenizer
from seqmem.models import build_model
from seqmem.models.base import Output
from seqmem.ops import bind
from seqmem.train.device import peak_memory
from seqmem.train.evaluate import evaluate

VOCAB_SIZE = 2048
SIZE = dict(
    vocab_size=VOCAB_SIZE,
    num_layers=4,
    d_model=128,
    num_heads=2,
    head_dim=64,
    d_inner=512,
    segment_len=128,
    mem_len=128,
    cmem_len=128,
    compression_rate=4,
    compression="mean",
)


@click.command()
@click.option("--json", "json_path", is_flag=False, flag_value="-", help="Write JSON to this path, or print it.")
@click.option("--backend", default="pytorch", show_default=True)
@click.option("--tokens", "num_tokens", type=click.IntRange(min=10), default=1_000_000, show_default=True)
def streaming(json_path: str | None, backend: str, num_tokens: int) -> None:
    """Random tokens, mapped from a file, through a Compressive Transformer with random weights, on Linux.

    Memory is what is resident in the process, in megabytes, mapped files and PyTorch itself included.
    """
    with tempfile.TemporaryDirectory() as folder:
        in_new_process(write_text, Path(folder), num_tokens)
        rows = {n: in_new_process(stream, Path(folder), n, backend) for n in (num_tokens // 10, num_tokens)}
    ratio = rows[num_tokens]["peak_mb"] / rows[num_tokens // 10]["peak_mb"]
    lines = [f"compressive, {', '.join(f'{key} {value}' for key, value in SIZE.items())}, backend {backend}"]
    lines.append(f"\n{'tokens':>12} {'tokens/s':>9} {'peak MB':>8}   MB after every tenth")
    for n, row in rows.items():
        tenths = " ".join(f"{megabytes:.0f}" for megabytes in row["resident_mb"])
        lines.append(f"{n:>12,} {row['tokens_per_second']:>9.0f} {row['peak_mb']:>8.1f}   {tenths}")
    lines.append(f"\npeak, all to a tenth: {ratio:.3f}")
    report({"shape": SIZE | {"backend": backend}, "tokens": rows, "peak_ratio": ratio}, lines, json_path)


def write_text(folder: Path, num_tokens: int) -> None:
    """A tokenizer trained on the first of the embedded books, and random tokens, BOS among them."""
    book = load_corpus(DataConfig()).splits["train"][0].text
    Tokenizer.train([book], TokenizerConfig(vocab_size=VOCAB_SIZE)).save(folder)
    tokens = np.random.default_rng(0).integers(VOCAB_SIZE, size=num_tokens, dtype=np.uint16)
    np.save(folder / "tokens.npy", tokens)


def stream(folder: Path, num_tokens: int, backend: str) -> dict[str, Any]:
    """Evaluate the first tokens of the text; what is measured, by name."""
    torch.manual_seed(0)
    tokens = np.load(folder / "tokens.npy", mmap_mode="r")[:num_tokens]
    model = build_model("compressive", bind(backend), **SIZE)
    resident: list[float] = []

    num_done = 1  # the first token is read but not predicted

    def observe(_model: nn.Module, arguments: tuple[Tensor, ...], _out: Output) -> None:
        nonlocal num_done
        num_done += arguments[0].numel()
        if num_done * 10 // num_tokens > len(resident):
            resident.append(resident_memory())

    model.register_forward_hook(observe)
    start = time.perf_counter()
    evaluate(model, tokens, Tokenizer.load(folder))
    seconds = time.perf_counter() - start
    return {
        "tokens_per_second": num_tokens / seconds,
        "peak_mb": peak_memory(torch.device("cpu")),
        "resident_mb": resident,
    }


def resident_memory() -> float:
    """Megabytes of this process now."""
    num_pages = int(Path("/proc/self/statm").read_text().split()[1])
    return num_pages * resource.getpagesize() / 1e6

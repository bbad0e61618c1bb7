"""``seqmem eval`` of a tenth of a text and of all of it: peak memory, resident memory on the way, speed."""

import resource
import sys
import tempfile
import time
from itertools import cycle, islice
from pathlib import Path
from subprocess import DEVNULL, run
from typing import Any

import click
import torch
from measure import in_new_process, report
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook

from seqmem.config import DataConfig
from seqmem.data.corpus import SPLITS, load_corpus
from seqmem.models.base import CausalModel, Output
from seqmem.train.device import peak_memory
from seqmem.train.evaluate import evaluate_run

FEW_BYTES = 5000  # to begin a run with


@click.command()
@click.option("--json", "json_path", is_flag=False, flag_value="-", help="Write JSON to this path, or print it.")
@click.option("--backend", default="pytorch", show_default=True)
@click.option("--model", default="compressive/bytes-cpu", show_default=True, help="A causal model and its size.")
@click.option("--set", "changes", nargs=2, multiple=True, metavar="KEY VALUE", help="As --set model.carry true.")
@click.option("--tokens", "num_tokens", type=click.IntRange(min=10), default=1_000_000, show_default=True)
def streaming(
    json_path: str | None, backend: str, model: str, changes: tuple[tuple[str, str], ...], num_tokens: int
) -> None:
    """A book of bytes, the King James Bible over and over, in one stream through a model trained for a step, on Linux.

    Memory is what is resident in the process, in megabytes, mapped files, the text and PyTorch itself included.
    """
    settings = dict(changes)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        texts = {n: write_text(folder / str(n), n) for n in (num_tokens // 10, num_tokens)}
        begin_run(folder / "run", texts[num_tokens // 10], model, {"backend": backend} | settings)
        rows = {n: in_new_process(stream, folder / "run", text, n) for n, text in texts.items()}
    ratio = rows[num_tokens]["peak_mb"] / rows[num_tokens // 10]["peak_mb"]
    shape = {"model": model, "backend": backend} | settings
    lines = [", ".join(f"{key} {value}" for key, value in shape.items())]
    lines.append(f"\n{'tokens':>12} {'tokens/s':>9} {'peak MB':>8}   MB after every tenth")
    for n, row in rows.items():
        tenths = " ".join(f"{megabytes:.0f}" for megabytes in row["resident_mb"])
        lines.append(f"{n:>12,} {row['tokens_per_second']:>9.0f} {row['peak_mb']:>8.1f}   {tenths}")
    lines.append(f"\npeak, all to a tenth: {ratio:.3f}")
    report({"shape": shape, "tokens": rows, "peak_ratio": ratio}, lines, json_path)


def write_text(folder: Path, num_bytes: int) -> Path:
    """A corpus with so many bytes to test on, and little else."""
    books = "\n".join(text for _, text in load_corpus(DataConfig()).documents("train")).encode("ascii", "replace")
    for split in SPLITS:
        (folder / split).mkdir(parents=True)
        wanted = num_bytes if split == "test" else FEW_BYTES
        (folder / split / "book.txt").write_bytes(bytes(islice(cycle(books), wanted)))
    return folder


def begin_run(folder: Path, data: Path, model: str, settings: dict[str, str]) -> None:
    """A step of training on bytes."""
    name, _, size = model.partition("/")
    once = {
        "model.name": name,
        "model.size": size,
        "train.steps": "1",
        "train.warmup_steps": "0",
        "eval.batch_size": "1",
        "generate.tokens": "1",
    }
    changes = [word for key, value in (once | settings).items() for word in (f"--{key}", value)]
    command = [sys.executable, "-m", "seqmem", "train", "linear", "--run", str(folder), "--data", str(data)]
    run([*command, *changes], check=True, stdout=DEVNULL)


def stream(run: Path, data: Path, num_tokens: int) -> dict[str, Any]:
    """Evaluate the run on the text; what is measured, by name."""
    num_done = 1  # the first token is read but not predicted
    resident: list[float] = []
    times: list[float] = []

    def observe(module: nn.Module, arguments: tuple[Tensor, ...], out: Output) -> None:
        nonlocal num_done
        if not isinstance(module, CausalModel):
            return
        times.append(time.perf_counter())
        num_done += arguments[0].numel()
        if num_done * 10 // num_tokens > len(resident):
            resident.append(resident_memory())

    register_module_forward_hook(observe)
    evaluate_run(run, "test", data=data)
    return {
        "tokens_per_second": num_done / (times[-1] - times[0]),
        "peak_mb": peak_memory(torch.device("cpu")),
        "resident_mb": resident,
    }


def resident_memory() -> float:
    """Megabytes of this process now."""
    num_pages = int(Path("/proc/self/statm").read_text().split()[1])
    return num_pages * resource.getpagesize() / 1e6

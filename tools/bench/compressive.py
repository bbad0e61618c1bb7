"""Training a Compressive Transformer: steps of this one and of compressive-transformer-pytorch, taking turns.

Each contender has a process of its own, as its users' would be; only one of them works at a time.
"""

import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import click
import torch
from measure import MATMUL_OPERATIONS, matmul, report

from seqmem.report.speed import take_turns

HERE = Path(__file__).resolve().parent
VOCAB_SIZE, BATCH_SIZE, SEGMENT_LEN, MEM_LEN, CMEM_LEN, RATE = 8000, 4, 256, 256, 64, 4
D_MODEL, NUM_LAYERS, NUM_HEADS = 256, 6, 4
LEARNING_RATE, CLIP = 1e-4, 1.0
STEPS_A_TURN = 2
PEER = "compressive-transformer-pytorch"


@click.command()
@click.option("--backend", default="pytorch", show_default=True)
@click.option("--rounds", default=7, show_default=True)
@click.option("--json", "json_path", is_flag=False, flag_value="-", help="Write JSON to a path, or - for the screen.")
def compressive(backend: str, rounds: int, json_path: str | None) -> None:
    """Tokens a second of training with the attention-reconstruction loss, memories full."""
    sys.path.append(str(HERE.parent / "peers"))
    from environment import peers_python

    options = [backend, str(rounds), json_path or ""]
    sys.exit(subprocess.run([str(peers_python()), str(Path(__file__).resolve()), *options]).returncode)


def ours(backend: str, pre_norm: bool) -> Callable[[], None]:
    """A step of this project's trainer."""
    from seqmem.config import TrainConfig
    from seqmem.data.stream import TokenStream
    from seqmem.models import build_model
    from seqmem.ops import bind
    from seqmem.train.device import keep_freed_memory
    from seqmem.train.session import Session

    keep_freed_memory()
    sizes = dict(num_layers=NUM_LAYERS, d_model=D_MODEL, num_heads=NUM_HEADS, head_dim=D_MODEL // NUM_HEADS)
    lengths = dict(segment_len=SEGMENT_LEN, mem_len=MEM_LEN, cmem_len=CMEM_LEN, compression_rate=RATE)
    options = dict(vocab_size=VOCAB_SIZE, d_inner=4 * D_MODEL, pre_norm=pre_norm)
    model = build_model("compressive", bind(backend), **options, **sizes, **lengths)
    text = torch.randint(VOCAB_SIZE, (BATCH_SIZE * 64 * SEGMENT_LEN,)).numpy()
    config = TrainConfig(batch_size=BATCH_SIZE, lr=LEARNING_RATE, warmup_steps=0, grad_clip=CLIP)
    session = Session(model, TokenStream(text, BATCH_SIZE, SEGMENT_LEN), config)

    def step() -> None:
        session.step()

    return step


def theirs(**options: bool) -> Callable[[], None]:
    """A step of the peer in a plain loop: loss and auxiliary loss together, clipped, AdamW."""
    from compressive_transformer_pytorch import CompressiveTransformer
    from compressive_transformer_pytorch.compressive_transformer_pytorch import Memory

    sizes = dict(dim=D_MODEL, depth=NUM_LAYERS, heads=NUM_HEADS)
    lengths = dict(seq_len=SEGMENT_LEN, mem_len=MEM_LEN, cmem_len=CMEM_LEN, cmem_ratio=RATE)
    model = CompressiveTransformer(num_tokens=VOCAB_SIZE, **sizes, **lengths, **options)
    optimizer = torch.optim.AdamW(model.parameters(), LEARNING_RATE, fused=True)
    text = torch.randint(VOCAB_SIZE, (BATCH_SIZE, 64 * SEGMENT_LEN + 1))
    carried: dict[str, Any] = {"memories": None, "start": 0}

    def step() -> None:
        start = carried["start"] % (64 * SEGMENT_LEN)
        logits, memories, auxiliary = model(text[:, start : start + SEGMENT_LEN], memories=carried["memories"])
        targets = text[:, start + 1 : start + SEGMENT_LEN + 1]
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten())
        optimizer.zero_grad()
        (loss + auxiliary).sum().backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimizer.step()
        carried.update(memories=Memory(*(memory.detach() for memory in memories)), start=start + SEGMENT_LEN)

    return step


def contender(name: str, backend: str) -> Callable[[], object]:
    """What a contender repeats; called in its process."""
    torch.set_flush_denormal(True)
    if name.startswith("seqmem"):
        return ours(backend, pre_norm="pre-LN" in name)
    if name == "matmul":
        return matmul()
    is_paper = name == PEER
    return theirs(gru_gated_residual=not is_paper, enhanced_recurrence=not is_paper)


def in_own_process(name: str, backend: str) -> Callable[[], object]:
    """A contender whose turns run in a process of its own, its memories filled."""
    pool = ProcessPoolExecutor(1, get_context("spawn"), prepare, (name, backend))
    for _ in range(4):
        pool.submit(turn).result()
    return lambda: pool.submit(turn).result()


prepared: list[Callable[[], object]] = []


def prepare(name: str, backend: str) -> None:
    prepared.append(contender(name, backend))


def turn() -> None:
    for _ in range(STEPS_A_TURN):
        prepared[0]()


def main(backend: str, rounds: int, json_path: str) -> None:
    names = [f"seqmem, {backend}", f"seqmem, {backend}, pre-LN", PEER, f"{PEER}, its defaults", "matmul"]
    seconds = take_turns({name: in_own_process(name, backend) for name in names}, rounds)
    gflops = STEPS_A_TURN * MATMUL_OPERATIONS / seconds.pop("matmul") / 1e9
    tokens = STEPS_A_TURN * BATCH_SIZE * SEGMENT_LEN
    peer = seconds[PEER]
    rows = {name: {"tokens_per_second": tokens / taken, "times_peer": peer / taken} for name, taken in seconds.items()}
    lines = [f"{'':<50} {'tokens/s':>9} {'x peer':>7}"]
    lines += [f"{name:<50} {row['tokens_per_second']:>9,.0f} {row['times_peer']:>7.2f}" for name, row in rows.items()]
    lines.append(f"torch.mm of 2048^3 beside it: {gflops:.0f} GFLOP/s")
    report({"matmul_gflops": gflops, "training": rows}, lines, json_path or None)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3])

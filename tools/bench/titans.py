"""Titans' memory and MAC beside titans-pytorch's, taking turns: both ways of the memory, steps of training."""

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import click
import torch
from measure import MATMUL_OPERATIONS, computed, matmul, report, run_among_peers, taking_turns
from torch import Tensor, nn

from seqmem.layers.neural_memory import MemoryConfig, NeuralMemory
from seqmem.models import build_model
from seqmem.ops import bind
from seqmem.train.device import keep_freed_memory

PEER = "titans-pytorch"
WIDTH, BATCH, LENGTH, CHUNK = 384, 2, 2048, 64
MAC = dict(d_model=256, num_layers=4, segment_len=128, vocab_size=256)
MAC_LENGTH = 1024


@click.command()
@click.option("--backend", default="pytorch", show_default=True)
@click.option("--rounds", default=5, show_default=True)
@click.option("--json", "json_path", is_flag=False, flag_value="-", help="Write JSON to a path, or - for the screen.")
def titans(backend: str, rounds: int, json_path: str | None) -> None:
    """Float32: the memory at width 384, depth 2, chunk 64; MAC at width 256, 4 layers, segment 128."""
    run_among_peers(str(Path(__file__).resolve()), backend, str(rounds), json_path or "")


def our_memory(backend: str) -> Callable[[], Tensor]:
    """Gates of every token; the weights a chunk begins with are those its gradients are taken at."""
    keep_freed_memory()  # as the trainer does
    memory = NeuralMemory(WIDTH, MemoryConfig(chunk_len=CHUNK), bind(backend))
    memory.reset_parameters()
    x = torch.randn(BATCH, LENGTH, WIDTH)
    return computed(lambda: memory(x, memory.init_state(BATCH))[0], backward=True)


def their_memory(batch_size: int | None) -> Callable[[], Tensor]:
    """Gates of every chunk; gradients at the weights of every ``batch_size`` tokens, or of the beginning."""
    from titans_pytorch import MemoryMLP
    from titans_pytorch import NeuralMemory as Peer

    network = MemoryMLP(WIDTH, depth=2, expansion_factor=4.0)
    memory = Peer(dim=WIDTH, chunk_size=CHUNK, batch_size=batch_size, model=network)
    x = torch.randn(BATCH, LENGTH, WIDTH)
    return computed(lambda: memory(x)[0], backward=True)


def our_mac(backend: str, memory_layers: tuple[int, ...]) -> Callable[[], Tensor]:
    keep_freed_memory()
    sizes = MAC | dict(num_heads=4, head_dim=64, d_inner=1024, memory_layers=memory_layers)
    model = build_model("titans-mac", bind(backend), memory=dict(chunk_len=CHUNK), **sizes)
    ids = torch.randint(0, 256, (BATCH, MAC_LENGTH + 1))
    return training(model, lambda: model.head.nll(model(ids[:, :-1]).hidden, ids[:, 1:]).mean())


def their_mac(memory_layers: tuple[int, ...], batch_size: int | None) -> Callable[[], Tensor]:
    from titans_pytorch import MemoryAsContextTransformer, MemoryMLP

    model = MemoryAsContextTransformer(
        num_tokens=MAC["vocab_size"],
        dim=MAC["d_model"],
        depth=MAC["num_layers"],
        segment_len=MAC["segment_len"],
        heads=4,
        dim_head=64,
        num_persist_mem_tokens=4,
        neural_memory_segment_len=CHUNK,
        neural_memory_batch_size=batch_size,
        neural_memory_layers=memory_layers,
        neural_memory_model=MemoryMLP(MAC["d_model"], depth=2, expansion_factor=4.0),
    )
    ids = torch.randint(0, 256, (BATCH, MAC_LENGTH + 1))
    return training(model, lambda: model(ids, return_loss=True))


def training(model: nn.Module, loss: Callable[[], Tensor]) -> Callable[[], Tensor]:
    """A step of AdamW."""
    optimizer = torch.optim.AdamW(model.parameters(), 1e-4)

    def step() -> Tensor:
        optimizer.zero_grad()
        value = loss()
        value.backward()
        optimizer.step()
        return value.detach()

    return step


def main(backend: str, rounds: int, json_path: str) -> None:
    macs = {"layers 2 and 4": (2, 4), "all layers": (1, 2, 3, 4)}
    groups: dict[str, dict[str, Callable[[], Callable[[], object]]]] = {
        f"memory, {BATCH} x {LENGTH} tokens of width {WIDTH}, forward+backward": {
            f"seqmem, {backend}": partial(our_memory, backend),
            f"{PEER}, gradients at the start's weights": partial(their_memory, None),
            f"{PEER}, gradients at the chunk's weights": partial(their_memory, CHUNK),
        }
    }
    for title, layers in macs.items():
        groups[f"MAC, {BATCH} x {MAC_LENGTH} tokens, memory in {title}, a training step"] = {
            f"seqmem, {backend}": partial(our_mac, backend, layers),
            f"{PEER}, gradients at the start's weights": partial(their_mac, layers, None),
            f"{PEER}, gradients at the chunk's weights": partial(their_mac, layers, CHUNK),
        }
    record: dict[str, object] = {}
    lines: list[str] = []
    for title, makes in groups.items():
        seconds = taking_turns(makes | {"matmul": matmul}, rounds, warm_up_turns=2)
        gflops = MATMUL_OPERATIONS / seconds.pop("matmul") / 1e9
        own = next(iter(seconds.values()))
        rows = {name: {"seconds": taken, "times_ours": taken / own} for name, taken in seconds.items()}
        record[title] = {**rows, "matmul_gflops": gflops}
        lines.append(f"\n{title} (torch.mm of 2048^3 beside it: {gflops:.0f} GFLOP/s)")
        lines += [f"{name:<50} {row['seconds']:>7.2f} s {row['times_ours']:>6.2f} x" for name, row in rows.items()]
    report(record, lines, json_path or None)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3])

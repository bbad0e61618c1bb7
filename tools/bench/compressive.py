"""Training a Compressive Transformer: steps of this one and of compressive-transformer-pytorch, taking turns."""

import subprocess
import sys
from collections.abc import Callable
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


def ours(backend: str) -> Callable[[], None]:
    """This project's, by its own trainer's step."""
    from seqmem.config import TrainConfig
    from seqmem.data.stream import TokenStream
    from seqmem.models import build_model
    from seqmem.ops import bind
    from seqmem.train.session import Session

    sizes = dict(num_layers=NUM_LAYERS, d_model=D_MODEL, num_heads=NUM_HEADS, head_dim=D_MODEL // NUM_HEADS)
    lengths = dict(segment_len=SEGMENT_LEN, mem_len=MEM_LEN, cmem_len=CMEM_LEN, compression_rate=RATE)
    model = build_model(
        "compressive", bind(backend), vocab_size=VOCAB_SIZE, d_inner=4 * D_MODEL, pre_norm=True, **sizes, **lengths
    )
    text = torch.randint(VOCAB_SIZE, (BATCH_SIZE * 64 * SEGMENT_LEN,)).numpy()
    config = TrainConfig(batch_size=BATCH_SIZE, lr=LEARNING_RATE, warmup_steps=0, grad_clip=CLIP)
    session = Session(model, TokenStream(text, BATCH_SIZE, SEGMENT_LEN), config)

    def steps() -> None:
        for _ in range(STEPS_A_TURN):
            session.step()

    return steps


def theirs(**options: bool) -> Callable[[], None]:
    """The peer in a plain loop: loss and auxiliary loss together, clipped, AdamW."""
    from compressive_transformer_pytorch import CompressiveTransformer
    from compressive_transformer_pytorch.compressive_transformer_pytorch import Memory

    sizes = dict(dim=D_MODEL, depth=NUM_LAYERS, heads=NUM_HEADS)
    lengths = dict(seq_len=SEGMENT_LEN, mem_len=MEM_LEN, cmem_len=CMEM_LEN, cmem_ratio=RATE)
    model = CompressiveTransformer(num_tokens=VOCAB_SIZE, **sizes, **lengths, **options)
    optimizer = torch.optim.AdamW(model.parameters(), LEARNING_RATE, fused=True)
    text = torch.randint(VOCAB_SIZE, (BATCH_SIZE, 64 * SEGMENT_LEN + 1))
    carried: dict[str, Any] = {"memories": None, "at": 0}

    def steps() -> None:
        for _ in range(STEPS_A_TURN):
            start = carried["at"] % 64 * SEGMENT_LEN
            logits, memories, auxiliary = model(text[:, start : start + SEGMENT_LEN], memories=carried["memories"])
            targets = text[:, start + 1 : start + SEGMENT_LEN + 1]
            loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten())
            optimizer.zero_grad()
            (loss + auxiliary).sum().backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
            optimizer.step()
            carried.update(memories=Memory(*(memory.detach() for memory in memories)), at=carried["at"] + 1)

    return steps


def main(backend: str, rounds: int, json_path: str) -> None:
    torch.set_flush_denormal(True)
    contenders: dict[str, Callable[[], object]] = {
        f"seqmem, {backend}": ours(backend),
        "compressive-transformer-pytorch, as in the paper": theirs(gru_gated_residual=False, enhanced_recurrence=False),
        "compressive-transformer-pytorch, its defaults": theirs(),
        "matmul": matmul(),
    }
    for run in contenders.values():  # fills memories
        run()
        run()
    seconds = take_turns(contenders, rounds)
    gflops = MATMUL_OPERATIONS / seconds.pop("matmul") / 1e9
    tokens = STEPS_A_TURN * BATCH_SIZE * SEGMENT_LEN
    peer = seconds["compressive-transformer-pytorch, as in the paper"]
    rows = {name: {"tokens_per_second": tokens / taken, "times_peer": peer / taken} for name, taken in seconds.items()}
    lines = [f"{'':<50} {'tokens/s':>9} {'x peer':>7}"]
    lines += [f"{name:<50} {row['tokens_per_second']:>9,.0f} {row['times_peer']:>7.2f}" for name, row in rows.items()]
    report({"matmul_gflops": gflops, "training": rows}, lines, json_path or None)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3])

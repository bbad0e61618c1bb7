"""Training a Compressive Transformer: steps of this one and of compressive-transformer-pytorch, taking turns."""

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import click
import torch
from measure import report, run_among_peers
from training import STEPS_A_TURN, matmul_rate, our_step, side_by_side

from seqmem.config import Recipe, TrainConfig

VOCAB_SIZE, BATCH_SIZE, SEGMENT_LEN, MEM_LEN, CMEM_LEN, RATE = 8000, 4, 256, 256, 64, 4
D_MODEL, NUM_LAYERS, NUM_HEADS = 256, 6, 4
LEARNING_RATE, CLIP = 1e-4, 1.0
PEER = "compressive-transformer-pytorch"


@click.command()
@click.option("--backend", default="pytorch", show_default=True)
@click.option("--rounds", default=7, show_default=True)
@click.option("--json", "json_path", is_flag=False, flag_value="-", help="Write JSON to a path, or - for the screen.")
def compressive(backend: str, rounds: int, json_path: str | None) -> None:
    """Tokens a second of training with the attention-reconstruction loss, memories full."""
    run_among_peers(str(Path(__file__).resolve()), backend, str(rounds), json_path or "")


def ours(backend: str, pre_norm: bool) -> Callable[[], object]:
    """A step of this project's trainer."""
    sizes = dict(num_layers=NUM_LAYERS, d_model=D_MODEL, num_heads=NUM_HEADS, head_dim=D_MODEL // NUM_HEADS)
    lengths = dict(segment_len=SEGMENT_LEN, mem_len=MEM_LEN, cmem_len=CMEM_LEN, compression_rate=RATE)
    recipe = Recipe(
        name="bench",
        description="",
        tokenizer=dict(vocab_size=VOCAB_SIZE),
        model=dict(name="compressive", d_inner=4 * D_MODEL, pre_norm=pre_norm, **sizes, **lengths),
        train=TrainConfig(batch_size=BATCH_SIZE, lr=LEARNING_RATE, warmup_steps=0, grad_clip=CLIP),
    )
    return our_step(recipe, backend)


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


def main(backend: str, rounds: int, json_path: str) -> None:
    steps: dict[str, Callable[[], Callable[[], object]]] = {}
    for name in dict.fromkeys((backend, "pytorch")):
        steps[f"seqmem, {name}"] = partial(ours, name, pre_norm=False)
        steps[f"seqmem, {name}, pre-LN"] = partial(ours, name, pre_norm=True)
    steps[PEER] = partial(theirs, gru_gated_residual=False, enhanced_recurrence=False)
    steps[f"{PEER}, its defaults"] = theirs
    seconds = side_by_side(steps, rounds)
    gflops = matmul_rate(seconds) / 1e9
    tokens = STEPS_A_TURN * BATCH_SIZE * SEGMENT_LEN
    peer = seconds[PEER]
    rows = {name: {"tokens_per_second": tokens / taken, "times_peer": peer / taken} for name, taken in seconds.items()}
    lines = [f"{'':<50} {'tokens/s':>9} {'x peer':>7}"]
    lines += [f"{name:<50} {row['tokens_per_second']:>9,.0f} {row['times_peer']:>7.2f}" for name, row in rows.items()]
    lines.append(f"torch.mm of 2048^3 beside it: {gflops:.0f} GFLOP/s")
    report({"matmul_gflops": gflops, "training": rows}, lines, json_path or None)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3])

"""A Longformer encoder of the published base size, this one and Hugging Face's, taking turns on the same text."""

import sys
from collections.abc import Callable
from functools import partial
from itertools import product
from pathlib import Path

import click
import torch
from measure import MATMUL_OPERATIONS, computed, matmul, report, run_among_peers, taking_turns
from torch import Tensor

from seqmem.models import build_encoder
from seqmem.ops import bind
from seqmem.train.device import keep_freed_memory

PEER = "Hugging Face's"
GLOBAL_TOKENS = {"no global token": 0, "a global token": 1}
DIRECTIONS = {"forward": False, "forward+backward": True}


@click.command()
@click.option("--backend", default="tvm", show_default=True)
@click.option("--length", default=4096, show_default=True)
@click.option("--rounds", default=3, show_default=True)
@click.option("--json", "json_path", is_flag=False, flag_value="-", help="Write JSON to a path, or - for the screen.")
def longformer(backend: str, length: int, rounds: int, json_path: str | None) -> None:
    """Hidden states of one text in float32, 12 layers of 768 with windows of 512, and their gradients."""
    run_among_peers(str(Path(__file__).resolve()), backend, str(length), str(rounds), json_path or "")


def ours(backend: str, length: int, num_global: int, backward: bool) -> Callable[[], Tensor]:
    keep_freed_memory()  # as the trainer does
    model = build_encoder("longformer/base", bind(backend)).eval()
    ids, global_mask = text(length, num_global)
    return computed(lambda: model(ids, global_mask=global_mask), backward)


def theirs(length: int, num_global: int, backward: bool) -> Callable[[], Tensor]:
    """Hugging Face's of the same size, without the pooling layer."""
    from transformers import LongformerConfig, LongformerModel

    config = LongformerConfig(vocab_size=50265, max_position_embeddings=4098, type_vocab_size=1)
    model = LongformerModel(config, add_pooling_layer=False).eval()
    ids, global_mask = text(length, num_global)
    global_attention = global_mask.long()
    return computed(lambda: model(ids, global_attention_mask=global_attention).last_hidden_state, backward)


def text(length: int, num_global: int) -> tuple[Tensor, Tensor]:
    """Ids ``[1, T]``, and which of them are global: the first ones."""
    ids = torch.randint(2, 50265, (1, length), generator=torch.Generator().manual_seed(0))
    return ids, torch.arange(length)[None] < num_global


def main(backend: str, length: int, rounds: int, json_path: str) -> None:
    record: dict[str, object] = {"length": length}
    lines = [f"Longformer, 12 layers of 768, windows of 512, {length} tokens, float32"]
    for (title, num_global), (direction, backward) in product(GLOBAL_TOKENS.items(), DIRECTIONS.items()):
        makes: dict[str, Callable[[], Callable[[], object]]] = {
            f"seqmem, {name}": partial(ours, name, length, num_global, backward)
            for name in dict.fromkeys((backend, "pytorch"))
        }
        makes |= {PEER: partial(theirs, length, num_global, backward), "matmul": matmul}
        seconds = taking_turns(makes, rounds)
        gflops = MATMUL_OPERATIONS / seconds.pop("matmul") / 1e9
        peer = seconds[PEER]
        rows = {name: {"seconds": taken, "times_peer": peer / taken} for name, taken in seconds.items()}
        record[f"{title}, {direction}"] = {**rows, "matmul_gflops": gflops}
        lines.append(f"\n{title}, {direction} (torch.mm of 2048^3 beside it: {gflops:.0f} GFLOP/s)")
        lines += [f"{name:<24} {row['seconds']:>7.2f} s {row['times_peer']:>6.2f} x" for name, row in rows.items()]
    report(record, lines, json_path or None)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])

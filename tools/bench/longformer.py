"""A Longformer encoder of the published base size: this one and Hugging Face's, taking turns on the same text."""

import sys
from collections.abc import Callable
from pathlib import Path

import click
import torch
from measure import MATMUL_OPERATIONS, matmul, report, run_among_peers
from torch import Tensor, nn

from seqmem.models import build_encoder
from seqmem.ops import bind
from seqmem.report.speed import take_turns
from seqmem.train.device import keep_freed_memory

PEER = "Hugging Face's"
GLOBAL_TOKENS = {"no global token": [], "one global token": [0]}


@click.command()
@click.option("--backend", default="tvm", show_default=True)
@click.option("--length", default=4096, show_default=True)
@click.option("--rounds", default=3, show_default=True)
@click.option("--json", "json_path", is_flag=False, flag_value="-", help="Write JSON to a path, or - for the screen.")
def longformer(backend: str, length: int, rounds: int, json_path: str | None) -> None:
    """Hidden states of one text in float32, forward and forward + backward, with and without a global token."""
    run_among_peers(str(Path(__file__).resolve()), backend, str(length), str(rounds), json_path or "")


def theirs() -> nn.Module:
    """Hugging Face's, which is as large by default, without the pooling layer; windows of 512."""
    from transformers import LongformerConfig, LongformerModel

    config = LongformerConfig(vocab_size=50265, max_position_embeddings=4098, type_vocab_size=1)
    return LongformerModel(config, add_pooling_layer=False).eval()


def contenders(backend: str, ids: Tensor, global_mask: Tensor) -> dict[str, Callable[[], Tensor]]:
    """Functions that give hidden states ``[1, T, d]``."""
    forwards: dict[str, Callable[[], Tensor]] = {}
    for name in dict.fromkeys((backend, "pytorch")):
        model = build_encoder("longformer/base", bind(name)).eval()
        forwards[f"seqmem, {name}"] = lambda model=model: model(ids, global_mask=global_mask)
    peer = theirs()
    forwards[PEER] = lambda: peer(ids, global_attention_mask=global_mask.long()).last_hidden_state
    return forwards


def both_ways(forward: Callable[[], Tensor]) -> Callable[[], None]:
    return lambda: forward().square().mean().backward()


def without_gradient(forward: Callable[[], Tensor]) -> Callable[[], Tensor]:
    return torch.no_grad()(forward)


def main(backend: str, length: int, rounds: int, json_path: str) -> None:
    torch.manual_seed(0)
    keep_freed_memory()
    ids = torch.randint(2, 50265, (1, length))
    record: dict[str, object] = {"length": length}
    lines = [f"Longformer, 12 layers of 768, windows of 512, {length} tokens, float32"]
    global_mask = torch.zeros(1, length, dtype=torch.bool)
    forwards = contenders(backend, ids, global_mask)
    for title, places in GLOBAL_TOKENS.items():
        global_mask.zero_()
        global_mask[0, places] = True
        for direction, wrap in (("forward", without_gradient), ("forward+backward", both_ways)):
            runs = {name: wrap(forward) for name, forward in forwards.items()}
            seconds = take_turns({**runs, "matmul": matmul()}, rounds)
            gflops = MATMUL_OPERATIONS / seconds.pop("matmul") / 1e9
            peer = seconds[PEER]
            rows = {name: {"seconds": taken, "times_peer": peer / taken} for name, taken in seconds.items()}
            record[f"{title}, {direction}"] = {**rows, "matmul_gflops": gflops}
            lines.append(f"\n{title}, {direction} (torch.mm of 2048^3 beside it: {gflops:.0f} GFLOP/s)")
            lines += [f"{name:<24} {row['seconds']:>7.2f} s {row['times_peer']:>6.2f} x" for name, row in rows.items()]
    report(record, lines, json_path or None)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])

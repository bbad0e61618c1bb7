"""Training WaveNet: steps of this one and of wavenet_vocoder, taking turns."""

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import click
import torch
from measure import report, run_among_peers
from training import STEPS_A_TURN, matmul_rate, our_step, side_by_side

from seqmem.config import CodecConfig, DataConfig, Recipe, TrainConfig
from seqmem.models.wavenet import WaveNet, WaveNetConfig

BATCH_SIZE, LEARNING_RATE, CLIP = 8, 1e-3, 1.0
PEER = "wavenet_vocoder"


@click.command()
@click.option("--size", default="small", show_default=True, help="Of our model; the peer takes its layers and widths.")
@click.option("--samples", default=2048, show_default=True, help="Of each of 8 streams, in a step.")
@click.option("--rounds", default=7, show_default=True)
@click.option("--json", "json_path", is_flag=False, flag_value="-", help="Write JSON to a path, or - for the screen.")
def wavenet(size: str, samples: int, rounds: int, json_path: str | None) -> None:
    """Samples a second of training WaveNet on mu-law of 256 levels."""
    run_among_peers(str(Path(__file__).resolve()), size, str(samples), str(rounds), json_path or "")


def ours(size: str, samples: int) -> Callable[[], object]:
    """A step of this project's trainer."""
    recipe = Recipe(
        name="bench",
        description="",
        data=DataConfig(corpus="sine"),
        codec=CodecConfig(),
        model=dict(name="wavenet", size=size, segment_len=samples),
        train=TrainConfig(batch_size=BATCH_SIZE, lr=LEARNING_RATE, warmup_steps=0, grad_clip=CLIP),
    )
    return our_step(recipe, "pytorch")


def theirs(size: str, samples: int, weight_normalization: bool) -> Callable[[], None]:
    """A step of the peer in a plain loop, without dropout: clipped, AdamW; one-hot inputs are not timed."""
    from wavenet_vocoder import WaveNet as Peer

    c = WaveNetConfig(**WaveNet.SIZES[size])
    model = Peer(
        out_channels=c.vocab_size,
        layers=c.num_layers,
        stacks=c.num_stacks,
        residual_channels=c.residual_channels,
        gate_channels=2 * c.gate_channels,
        skip_out_channels=c.skip_channels,
        kernel_size=c.kernel_size,
        dropout=0.0,
        weight_normalization=weight_normalization,
    )
    optimizer = torch.optim.AdamW(model.parameters(), LEARNING_RATE, fused=True)
    ids = torch.randint(c.vocab_size, (BATCH_SIZE, samples + 1))
    inputs = torch.nn.functional.one_hot(ids[:, :-1], c.vocab_size).float().mT.contiguous()

    def step() -> None:
        loss = torch.nn.functional.cross_entropy(model(inputs), ids[:, 1:])
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimizer.step()

    return step


def main(size: str, samples: int, rounds: int, json_path: str) -> None:
    steps: dict[str, Callable[[], Callable[[], object]]] = {
        "seqmem": partial(ours, size, samples),
        PEER: partial(theirs, size, samples, weight_normalization=True),
        f"{PEER}, no weight norm": partial(theirs, size, samples, weight_normalization=False),
    }
    seconds = side_by_side(steps, rounds)
    gflops = matmul_rate(seconds) / 1e9
    total = STEPS_A_TURN * BATCH_SIZE * samples
    peer = seconds[PEER]
    rows = {name: {"samples_per_second": total / taken, "times_peer": peer / taken} for name, taken in seconds.items()}
    lines = [f"{'':<32} {'samples/s':>10} {'x peer':>7}"]
    lines += [f"{name:<32} {row['samples_per_second']:>10,.0f} {row['times_peer']:>7.2f}" for name, row in rows.items()]
    lines.append(f"torch.mm of 2048^3 beside it: {gflops:.0f} GFLOP/s")
    report({"size": size, "samples": samples, "matmul_gflops": gflops, "training": rows}, lines, json_path or None)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])

"""Linear layers of the size of Longformer's base model: oneDNN's products beside ``torch.nn.functional.linear``."""

from collections.abc import Callable

import click
import torch
import torch.nn.functional as F
from measure import report
from torch import Tensor

from seqmem.layers.linear import OneDNNLinear
from seqmem.report.speed import take_turns

SHAPES = {"projections": (768, 2304), "output": (768, 768), "wider": (768, 3072), "narrower": (3072, 768)}
DIRECTIONS = {"forward": False, "forward+backward": True}


@click.command()
@click.option("--rows", default=4096, show_default=True)
@click.option("--rounds", default=7, show_default=True)
@click.option("--json", "json_path", is_flag=False, flag_value="-", help="Write JSON to a path, or - for the screen.")
def linear(rows: int, rounds: int, json_path: str | None) -> None:
    """Linear layers in float32, from which side the weights are read being the library's affair."""
    record: dict[str, object] = {"rows": rows}
    lines = [f"{rows} rows, float32; GFLOP/s"]
    for name, (width_in, width_out) in SHAPES.items():
        for direction, backward in DIRECTIONS.items():
            operands = [torch.randn(*shape) for shape in ((rows, width_in), (width_out, width_in), (width_out,))]
            contenders = {
                "oneDNN": turn(OneDNNLinear.apply, operands, backward),
                "torch": turn(F.linear, operands, backward),
            }
            work = 2 * rows * width_in * width_out * (3 if backward else 1)
            rates = {who: work / taken / 1e9 for who, taken in take_turns(contenders, rounds).items()}
            record[f"{name}, {direction}"] = {"shape": [width_in, width_out], "gflops": rates}
            lines.append(
                f"{width_in:>5} -> {width_out:<5} {direction:<17}"
                + "".join(f" {who} {rate:>4.0f} " for who, rate in rates.items())
                + f" {rates['oneDNN'] / rates['torch']:.2f} x"
            )
    report(record, lines, json_path)


def turn(layer: Callable[..., Tensor], operands: list[Tensor], backward: bool) -> Callable[[], object]:
    """One pass, forward alone or forward and backward."""
    if not backward:
        return lambda: layer(*operands)
    inputs = [operand.clone().requires_grad_() for operand in operands]
    grad = torch.randn(len(operands[0]), len(operands[1]))
    return lambda: torch.autograd.grad(layer(*inputs), inputs, grad)

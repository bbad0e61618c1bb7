"""The public wavenet_vocoder with copied weights: its logits, its mixture's likelihood, our generation against both.

It multiplies ``x + out(z)`` by sqrt(1/2) after every layer, and the sum of skips too where ``legacy`` is on; copied
weights take these factors in. Its first convolution has kernel 1. Weights have std 0.2, biases are non-zero, all is in
float64.
"""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from wavenet_vocoder import WaveNet
from wavenet_vocoder.mixture import discretized_mix_logistic_loss

from seqmem.generate.sampling import Sampler
from seqmem.models import build_model
from seqmem.ops import bind

TOLERANCE = 1e-10
NUM_LEVELS = 60
LENGTH = 90
SETTINGS: list[dict[str, Any]] = [
    dict(kernel_size=2),
    dict(kernel_size=3, legacy=False),
    dict(kernel_size=2, num_layers=8, num_stacks=2, residual_channels=7, gate_channels=9, skip_channels=5),
    dict(kernel_size=2, num_conditions=3, legacy=False),
    dict(kernel_size=3, head="logistic-mixture", num_logistics=4),
]


def build(settings: dict) -> Any:
    torch.manual_seed(0)
    model = build_model("wavenet/tiny", bind("pytorch"), vocab_size=NUM_LEVELS, initial_kernel=1, **settings).double()
    for parameter in model.parameters():
        nn.init.normal_(parameter, 0, 0.2)
    return model.eval()


def peer(model: Any, legacy: bool) -> WaveNet:
    c = model.config
    is_mixture = c.head == "logistic-mixture"
    theirs = WaveNet(
        out_channels=3 * c.num_logistics if is_mixture else c.vocab_size,
        layers=c.num_layers,
        stacks=c.num_stacks,
        residual_channels=c.residual_channels,
        gate_channels=2 * c.gate_channels,
        skip_out_channels=c.skip_channels,
        kernel_size=c.kernel_size,
        dropout=0.0,
        gin_channels=c.num_conditions or -1,
        n_speakers=c.num_conditions or None,
        weight_normalization=False,
        scalar_input=is_mixture,
        legacy=legacy,
    )
    nn.utils.remove_weight_norm(theirs.first_conv)
    with torch.no_grad():
        copy_weights(model, theirs.double(), legacy)
    return theirs.eval()


def copy_weights(model: Any, theirs: WaveNet, legacy: bool) -> None:
    """Scales: what leaves layer k of theirs is ours times ``half ** k``, and its skip counts as ``skip_scales[k]``."""
    half, num_layers = math.sqrt(0.5), model.config.num_layers
    skip_scales = [half ** (num_layers - max(layer, 1)) if legacy else 1.0 for layer in range(num_layers)]
    theirs.first_conv.weight.copy_(model.first.weight[0].T[..., None])
    theirs.first_conv.bias.copy_(model.first.bias)
    skips = model.skips.weight.chunk(num_layers, 1)
    for i, (ours, layer) in enumerate(zip(model.layers, theirs.conv_layers, strict=True)):
        layer.conv.weight.copy_(ours.weight / half**i)
        layer.conv.bias.copy_(ours.bias)
        layer.conv1x1_skip.weight.copy_(skips[i][..., None] / skip_scales[i])
        layer.conv1x1_skip.bias.copy_(model.skips.bias * (i == num_layers - 1) / skip_scales[i])
        if ours.out is not None:
            layer.conv1x1_out.weight.copy_(ours.out.weight[..., None] * half**i)
            layer.conv1x1_out.bias.copy_(ours.out.bias * half**i)
    copy_conditions(model, theirs)
    _, hidden, _, head = theirs.last_conv_layers
    for theirs_affine, ours_affine in ((hidden, model.hidden), (head, model.head)):
        theirs_affine.weight.copy_(ours_affine.weight[..., None])
        theirs_affine.bias.copy_(ours_affine.bias)


def copy_conditions(model: Any, theirs: WaveNet) -> None:
    """Speakers' vectors are unit vectors, so that a layer's matrix is our table."""
    if not model.config.num_conditions:
        return
    theirs.embed_speakers.weight.copy_(torch.eye(model.config.num_conditions))
    tables = model.conditions.weight.chunk(model.config.num_layers, 1)
    for table, layer in zip(tables, theirs.conv_layers, strict=True):
        layer.conv1x1g.weight.copy_(table.T[..., None])
        layer.conv1x1g.bias.zero_()


def difference(ours: Tensor, theirs: Tensor) -> float:
    return (ours - theirs).abs().max().item() if ours.shape == theirs.shape else float("inf")


@torch.no_grad()
def compare(legacy: bool = True, **settings: Any) -> dict[str, float]:
    model = build(settings)
    theirs = peer(model, legacy)
    ids = torch.randint(1, NUM_LEVELS - 1, (3, LENGTH + 1))
    inputs, targets = ids[:, :-1], ids[:, 1:]
    values = 2 * ids.double() / (NUM_LEVELS - 1) - 1
    conditioned = bool(model.config.num_conditions)
    state = model.init_state(3, torch.arange(3) if conditioned else None)
    hidden = model(inputs, state).hidden
    _, log_probs = model.token_loop(state, Sampler())(inputs[:, 0], LENGTH, forced=targets)

    if settings.get("head") == "logistic-mixture":
        output = theirs(values[:, None, :-1])
        found = {"mixture": difference(model.head.mixture(hidden), output.mT)}
        loss = discretized_mix_logistic_loss(
            output, values[:, 1:, None], num_classes=NUM_LEVELS, log_scale_min=-14.0, reduce=False
        )
        likelihood = -loss[..., 0]
    else:
        speakers = torch.arange(3)[:, None] if conditioned else None
        output = theirs(F.one_hot(inputs, NUM_LEVELS).double().mT, g=speakers)
        found = {"logits": difference(model.head.logits(hidden), output.mT)}
        likelihood = output.log_softmax(1).gather(1, targets[:, None])[:, 0]
    found["log-likelihood"] = difference(-model.head.nll(hidden, targets), likelihood)
    found["log-likelihood in generation"] = difference(log_probs, likelihood)
    return found


def main() -> None:
    passed = True
    for settings in SETTINGS:
        print("wavenet_vocoder", settings)
        for name, worst in compare(**settings).items():
            passed = passed and worst <= TOLERANCE
            print(f"  {worst:.2e}  {name}")
    if not passed:
        raise SystemExit(f"differs from wavenet_vocoder by more than {TOLERANCE}")


main()

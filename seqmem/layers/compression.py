"""The compression functions of the Compressive Transformer (Rae et al. 2019, section 3.2), and what teaches them.

A compression function maps n slots, oldest first, to ``n // rate`` slots: the first from the oldest ``rate`` of them,
and so on; the newest ``n % rate`` are dropped. Learned ones start as the mean, a choice of ours, so that memory is of
use from the first step.
"""

from typing import cast

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from seqmem.layers.attention import Block
from seqmem.ops import Dense

DILATIONS = (1, 2)
KERNEL_SIZE = 3
INIT_STD = 0.02


class Compression(nn.Module):
    """``forward(slots [B, n, d], usage [B, n]) -> [B, n // rate, d]``; usage is None unless ``needs_usage``."""

    needs_usage = False

    def __init__(self, d_model: int, rate: int):
        super().__init__()
        self.rate = rate

    def reset_parameters(self) -> None:
        """Start over; those that learn nothing have nothing to do."""

    def forward(self, slots: Tensor, usage: Tensor | None = None) -> Tensor:
        raise NotImplementedError

    def grouped(self, slots: Float[Tensor, "B n ..."]) -> Float[Tensor, "B m rate ..."]:
        """The slots that each compressed slot stands for."""
        kept = slots.shape[1] // self.rate
        return slots[:, : kept * self.rate].unflatten(1, (kept, self.rate))

    def whole(self, valid: Bool[Tensor, "B n"]) -> Bool[Tensor, "B m"]:
        """Which compressed slots are made of valid slots alone, when the valid ones are the newest."""
        return self.grouped(valid).all(2)


class MeanPooling(Compression):
    """The mean of each ``rate`` slots."""

    def forward(self, slots: Tensor, usage: Tensor | None = None) -> Tensor:
        return self.grouped(slots).mean(2)


class MaxPooling(Compression):
    """The maximum of each ``rate`` slots, feature by feature."""

    def forward(self, slots: Tensor, usage: Tensor | None = None) -> Tensor:
        return self.grouped(slots).amax(2)


class MostUsed(Compression):
    """The slots that received most attention, in order of time, which the paper leaves open."""

    needs_usage = True

    def forward(self, slots: Tensor, usage: Tensor | None = None) -> Tensor:
        assert usage is not None
        kept = usage.topk(slots.shape[1] // self.rate).indices.sort().values
        return slots.gather(1, kept[..., None].expand(-1, -1, slots.shape[2]))

    def whole(self, valid: Bool[Tensor, "B n"]) -> Bool[Tensor, "B m"]:
        return valid[:, valid.shape[1] - valid.shape[1] // self.rate :]


class Convolution(Compression):
    """A linear map of each ``rate`` slots: a convolution whose kernel and stride are ``rate``."""

    def __init__(self, d_model: int, rate: int):
        super().__init__(d_model, rate)
        self.conv = nn.Conv1d(d_model, d_model, rate, stride=rate)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        weight = self.conv.weight
        nn.init.normal_(weight, 0, INIT_STD / self.rate)
        nn.init.zeros_(cast(Tensor, self.conv.bias))
        with torch.no_grad():
            weight += torch.eye(weight.shape[0], device=weight.device)[..., None] / self.rate

    def forward(self, slots: Tensor, usage: Tensor | None = None) -> Tensor:
        # With a kernel equal to its stride, a convolution is one product over the groups, in the layout they are in.
        weight = self.conv.weight.transpose(1, 2).flatten(1)
        return F.linear(self.grouped(slots).flatten(2), weight, self.conv.bias)


class DilatedConvolution(Compression):
    """Dilated convolutions with residuals, so that a slot knows of its neighbours, then a :class:`Convolution`.

    The paper gives neither depth nor shapes. Ours: kernels of 3, dilations 1 and 2, ReLU, zeros around the block.
    """

    def __init__(self, d_model: int, rate: int):
        super().__init__(d_model, rate)
        self.dilated = nn.ModuleList(
            nn.Conv1d(d_model, d_model, KERNEL_SIZE, dilation=dilation, padding=dilation) for dilation in DILATIONS
        )
        self.last = Convolution(d_model, rate)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        for conv in self.dilated:
            nn.init.normal_(cast(Tensor, conv.weight), 0, INIT_STD / KERNEL_SIZE)
            nn.init.zeros_(cast(Tensor, conv.bias))
        self.last.reset_parameters()

    def forward(self, slots: Tensor, usage: Tensor | None = None) -> Tensor:
        x = slots.transpose(1, 2)
        for conv in self.dilated:
            x = x + F.relu(conv(x))
        return self.last(x.transpose(1, 2))


COMPRESSIONS: dict[str, type[Compression]] = {
    "max": MaxPooling,
    "mean": MeanPooling,
    "conv": Convolution,
    "dilated-conv": DilatedConvolution,
    "most-used": MostUsed,
}
LEARNED = ("conv", "dilated-conv")


class Decoder(nn.Module):
    """``g`` of the auto-encoding loss: a linear map from each slot to the ``rate`` slots it stands for."""

    def __init__(self, d_model: int, rate: int):
        super().__init__()
        self.linear = nn.Linear(d_model, rate * d_model)
        self.rate = rate
        self.reset_parameters()

    def reset_parameters(self) -> None:
        weight = self.linear.weight
        nn.init.normal_(weight, 0, INIT_STD / self.rate)
        nn.init.zeros_(self.linear.bias)
        with torch.no_grad():
            weight += torch.eye(weight.shape[1], device=weight.device).repeat(self.rate, 1)

    def forward(self, slots: Float[Tensor, "B m d"]) -> Float[Tensor, "B m rate d"]:
        return self.linear(slots).unflatten(-1, (self.rate, -1))


def auto_encoding_loss(
    decoder: Decoder, original: Float[Tensor, "B m rate d"], compressed: Float[Tensor, "B m d"], whole: Tensor | None
) -> Tensor:
    """Mean squared error of what the decoder makes of compressed slots; slots not ``whole [B, m]`` count as right."""
    error = decoder(compressed) - original
    if whole is not None:
        error = error * whole[..., None, None]
    return error.square().mean()


def attention_reconstruction_loss(
    block: Block,
    segment: Float[Tensor, "B T d"],
    original: tuple[Float[Tensor, "B n 2 H D"], Bool[Tensor, "B n"] | None],
    compressed: tuple[Float[Tensor, "B m d"], Bool[Tensor, "B m"] | None],
) -> Tensor:
    """Mean squared error between what a segment reads from slots and from their compression (Algorithm 2).

    Content alone counts, without positions; heads are compared before the output projection; scores are scaled as in
    the layer. Gradients reach ``compressed`` only: the block's weights are taken as they are. The paper writes a
    2-norm; its scale does not matter to Adam, and the square has a gradient where both agree.

    Args:
        segment: inputs of the layer, the queries.
        original: keys and values of the slots, and which of them take part.
        compressed: what the slots became, and which take part.
    """

    def reading(keys_values: Tensor, valid: Tensor | None) -> Tensor:
        k, v = keys_values.unbind(2)
        return block.attention.ops.attend(q, k, v, Dense(), valid=valid)[0]

    with torch.no_grad():
        q = block.queries(segment)
        target = reading(*original)
    slots, valid = compressed
    return F.mse_loss(reading(block.keys_values(slots, frozen=True), valid), target)

"""WaveNet's convolutions over time (van den Oord et al. 2016, arXiv 1609.03499, sections 2.1 and 2.3)."""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from seqmem.layers.gate import GatedActivation
from seqmem.ops import GatedLayer, Ops, logistics
from seqmem.ops.step import Affine


class TokenConvolution(nn.Module):
    """The first causal convolution, on one-hot ids: a sum of rows of tables, one table a distance.

    Args:
        kernel_size: K; tap K - 1 is the present.
    """

    def __init__(self, vocab_size: int, channels: int, kernel_size: int):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(kernel_size, vocab_size, channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def reset_parameters(self) -> None:
        """Glorot uniform as for a matrix from all taps' classes to the channels; biases 0."""
        nn.init.xavier_uniform_(self.weight.data.flatten(0, 1))
        nn.init.zeros_(self.bias)

    def forward(self, tokens: Int[Tensor, "B N"]) -> Float[Tensor, "B T C"]:
        """``tokens`` begin with the K - 1 before the call: T = N - K + 1."""
        return sum(self._taps(tokens), self.bias)

    def _taps(self, tokens: Int[Tensor, "B N"]) -> list[Float[Tensor, "B T C"]]:
        """What the tokens at each distance add."""
        shifted = tokens.unfold(1, len(self.weight), 1).unbind(2)
        return [F.embedding(ids, table) for ids, table in zip(shifted, self.weight, strict=True)]


class ValueConvolution(TokenConvolution):
    """The first causal convolution, on the values of levels."""

    def __init__(self, num_levels: int, channels: int, kernel_size: int):
        super().__init__(1, channels, kernel_size)
        self.num_levels = num_levels

    def _taps(self, tokens: Int[Tensor, "B N"]) -> list[Float[Tensor, "B T C"]]:
        values = logistics.value(tokens, self.num_levels, self.weight.dtype)[..., None]
        shifted = values.unfold(1, len(self.weight), 1).unbind(3)
        return [seen * row for seen, row in zip(shifted, self.weight, strict=True)]


class GatedConvolution(nn.Module):
    """``z = tanh(f) * sigmoid(g)`` of a dilated causal convolution ``f, g``, and the residual ``x + out(z)``.

    Args:
        channels: C of the input and output.
        gate_channels: G of z, half of what the convolution gives.
        is_last: nobody reads the residual, and it has no weights.
    """

    def __init__(self, channels: int, gate_channels: int, kernel_size: int, dilation: int, is_last: bool, ops: Ops):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(2 * gate_channels, channels, kernel_size))
        self.bias = nn.Parameter(torch.zeros(2 * gate_channels))
        self.out = None if is_last else nn.Linear(gate_channels, channels)
        self.dilation = dilation
        self.ops = ops

    @property
    def past_len(self) -> int:
        """Inputs before the present that an output depends on lie within as many."""
        return (self.weight.shape[2] - 1) * self.dilation

    def reset_parameters(self) -> None:
        """Glorot uniform, of filters and of gates apart; biases 0."""
        for half in self.weight.data.chunk(2):
            nn.init.xavier_uniform_(half)
        nn.init.zeros_(self.bias)
        if self.out is not None:
            nn.init.xavier_uniform_(self.out.weight)
            nn.init.zeros_(self.out.bias)

    def forward(
        self, x: Float[Tensor, "B T C"], past: Float[Tensor, "B P C"], condition: Float[Tensor, "B 2G"] | None
    ) -> tuple[Float[Tensor, "B T C"], Float[Tensor, "B T G"], Float[Tensor, "B P C"]]:
        """The next layer's input (after the last layer, x itself), z, and the last P inputs for the next call.

        Args:
            past: the P = :attr:`past_len` inputs before x, oldest first.
            condition: added to the convolution's output at every time.
        """
        gates, past = self.ops.causal_conv1d(x, self.weight, self.bias, self.dilation, state=past)
        if condition is not None:
            gates = gates + condition[:, None]
        z = GatedActivation.apply(gates)
        return x if self.out is None else self.out(z).add_(x), z, past

    def description(self, skip: Affine, condition: Float[Tensor, "B 2G"] | None) -> GatedLayer:
        """The layer for a backend; weights are shared."""
        bias = self.bias[None] if condition is None else self.bias + condition
        out = None if self.out is None else Affine.of(self.out)
        return GatedLayer(self.weight, bias, self.dilation, out, skip)

"""A block whose tokens mix in a way of its own."""

from typing import Any

from jaxtyping import Bool, Float
from torch import Tensor, nn


class MixerBlock(nn.Module):
    """A mixer and a feed-forward layer with residuals; post-LN: ``LN(x + f(x))``, or pre-LN: ``x + f(LN(x))``.

    Args:
        mixer: ``mixer(x, past, valid, relative) -> (out, left)``, where ``left`` joins the past of the tokens to come;
            ``mixer.reach`` is how far it looks back.
    """

    def __init__(self, mixer: Any, feed_forward: nn.Module, d_model: int, dropout: float, pre_norm: bool):
        super().__init__()
        self.mixer = mixer
        self.feed_forward = feed_forward
        self.mixer_norm = nn.LayerNorm(d_model)
        self.feed_forward_norm = nn.LayerNorm(d_model)
        self.dropout = nn.Dropout(dropout)
        self.pre_norm = pre_norm

    def forward(
        self, x: Float[Tensor, "B T d"], past: Tensor, valid: Bool[Tensor, "B P"] | None, relative: Tensor
    ) -> tuple[Float[Tensor, "B T d"], Tensor]:
        """The next layer's input, and what its tokens leave for those after them."""
        mixed, left = self.mixer(self.mixer_norm(x) if self.pre_norm else x, past, valid, relative)
        x = x + self.dropout(mixed)
        if self.pre_norm:
            return x + self.feed_forward(self.feed_forward_norm(x)), left
        x = self.mixer_norm(x)
        return self.feed_forward_norm(x + self.feed_forward(x)), left

"""An encoder that answers."""

from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from seqmem.models.encoder import Encoder
from seqmem.models.model import Model


class Reader(Model):
    """An encoder with a head of a task; the head of the encoder stays for its embedding.

    Args:
        head: takes hidden states ``[B, T, d]``.
    """

    def __init__(self, encoder: Encoder, head: nn.Module):
        super().__init__()
        self.config = encoder.config
        self.ops = encoder.ops
        self.encoder = encoder
        self.head = head

    def forward(
        self,
        inputs: Int[Tensor, "B T"],
        valid: Bool[Tensor, "B T"],
        global_mask: Bool[Tensor, "B T"] | None,
        types: Int[Tensor, "B T"],
    ) -> Float[Tensor, "B ..."]:
        """What the head says; arguments as those of :meth:`Encoder.forward`, types left out where it knows but one."""
        return self.head(self.encoder(inputs, valid, global_mask, types.clamp(max=self.config.num_types - 1)))

"""What every encoder offers: hidden states of positions, and a distribution over the token at each."""

from typing import ClassVar

from jaxtyping import Bool, Float, Int
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from seqmem.layers.head import Head
from seqmem.models.model import Model


class EncoderConfig(BaseModel):
    """Base of every encoder's configuration; unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    vocab_size: int = Field(gt=0)
    max_len: int = Field(gt=0, description="positions that have a vector")
    d_model: int = Field(gt=0, description="of a hidden state")
    num_types: int = Field(1, gt=0, description="kinds of tokens")


class Encoder(Model):
    """A model of whole texts: ``model(inputs [B, T], valid, global_mask) -> hidden [B, T, d]``.

    Attributes:
        head: ``head.nll(hidden, targets)`` and ``head.logits(hidden)`` speak of the token at a position, as masked
            language models want it.
    """

    Config: ClassVar[type[EncoderConfig]]

    config: EncoderConfig
    head: Head

    def forward(
        self,
        inputs: Int[Tensor, "B T"],
        valid: Bool[Tensor, "B T"] | None = None,
        global_mask: Bool[Tensor, "B T"] | None = None,
        types: Int[Tensor, "B T"] | None = None,
    ) -> Float[Tensor, "B T d"]:
        """Hidden states.

        Args:
            valid: which positions are tokens; the others are padding, which changes nothing else. All when absent.
            global_mask: tokens that see everything and are seen by everything. None when absent.
            types: kind of each token, such as question and text; 0 when absent.
        """
        raise NotImplementedError

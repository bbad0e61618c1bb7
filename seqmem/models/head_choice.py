"""The choice between a softmax and a mixture of logistics, for models of waveforms."""

from typing import Literal

from pydantic import Field, model_validator

from seqmem.models.base import ModelConfig


class HeadChoice(ModelConfig):
    """Configuration of a model whose tokens are classes, or levels of a sample in their order."""

    head: Literal["softmax", "logistic-mixture"] = Field(
        "softmax", description="over classes, or over levels of which neighbours are alike"
    )
    num_logistics: int = Field(10, gt=0, description="of a logistic-mixture")

    @model_validator(mode="after")
    def _levels_have_one_phase(self):
        if self.head == "logistic-mixture" and self.num_phases > 1:
            raise ValueError(
                f"tokens of a logistic-mixture are whole samples, not {self.num_phases} kinds; use softmax"
            )
        return self

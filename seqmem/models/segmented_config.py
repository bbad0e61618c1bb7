"""What the segmented transformers' configurations have in common."""

from pydantic import Field, model_validator

from seqmem.models.head_choice import HeadChoice


class SegmentedConfig(HeadChoice):
    """Base of their configurations."""

    num_layers: int = Field(gt=0)
    d_model: int = Field(gt=0)
    num_heads: int = Field(gt=0)
    head_dim: int = Field(gt=0)
    d_inner: int = Field(gt=0)
    dropout: float = Field(0.0, ge=0, lt=1)
    attention_dropout: float = Field(0.0, ge=0, lt=1)
    pre_norm: bool = Field(False, description="pre-LN blocks and a final LN; the papers are post-LN")
    cutoffs: tuple[int, ...] = Field((), description="adaptive softmax clusters; plain softmax when empty")
    div_value: float = Field(1.0, ge=1)
    init_std: float = Field(0.02, gt=0)

    @model_validator(mode="after")
    def _levels_have_no_clusters(self):
        if self.head == "logistic-mixture" and self.cutoffs:
            raise ValueError("cutoffs are clusters of a softmax; leave them out with head = 'logistic-mixture'")
        return self

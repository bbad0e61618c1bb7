"""What the segmented transformers' configurations have in common."""

from itertools import pairwise

from pydantic import BaseModel, ConfigDict, Field, model_validator

from seqmem.models.head_choice import HeadChoice


class Projected(BaseModel):
    """What the adaptive softmax of Transformer-XL's authors has besides ``cutoffs`` and ``div_value``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    d_embed: int = Field(gt=0, description="width of the first cluster's vectors")
    tied: tuple[bool, ...] = Field(description="for each cluster, whether embedding and softmax share a projection")


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
    admin: bool = Field(
        False,
        description="Admin's weights of shortcuts, set by a first batch; but the first, which a norm precedes not",
    )
    cutoffs: tuple[int, ...] = Field((), description="adaptive softmax clusters; plain softmax when empty")
    div_value: float = Field(1.0, ge=1)
    projected: Projected | None = Field(
        None, description="the adaptive softmax of Transformer-XL's authors; PyTorch's when absent"
    )
    init_std: float = Field(0.02, gt=0)

    @model_validator(mode="after")
    def _admin_is_post_norm(self):
        if self.admin and self.pre_norm:
            raise ValueError("admin = true is for post-LN; set pre_norm = false")
        return self

    @model_validator(mode="after")
    def _levels_have_no_clusters(self):
        if self.head == "logistic-mixture" and (self.cutoffs or self.projected):
            raise ValueError("cutoffs and projected are of a softmax; leave them out with head = 'logistic-mixture'")
        return self

    @model_validator(mode="after")
    def _clusters_fit(self):
        borders = [0, *self.cutoffs, self.vocab_size]
        if any(low >= high for low, high in pairwise(borders)):
            raise ValueError(f"cutoffs = {self.cutoffs} should rise between 0 and vocab_size = {self.vocab_size}")
        if self.projected is None:
            return self
        num_clusters = len(borders) - 1
        if len(self.projected.tied) != num_clusters:
            raise ValueError(f"projected.tied has {len(self.projected.tied)} values for {num_clusters} clusters")
        if not self.div_value.is_integer() or self.projected.d_embed < self.div_value ** len(self.cutoffs):
            raise ValueError(
                f"div_value = {self.div_value} does not divide d_embed = {self.projected.d_embed} into whole widths "
                f"for {num_clusters} clusters; give a smaller whole number"
            )
        return self

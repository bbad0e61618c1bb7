"""The section of a recipe about training."""

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from seqmem.schema import Section

AtDocumentEnd = Literal["carry", "reset"]


class StageConfig(Section):
    """A part of training; its rate is constant after a linear warm-up.

    So Longformer's language models were trained (Beltagy et al. 2020, section 4.2): with every stage lengths double and
    the rate halves, and a tenth of its steps, 10,000 at most, warm up.
    """

    steps: int = Field(gt=0)
    lr: float = Field(gt=0)
    batch_size: int | None = Field(None, gt=0, description="train.batch_size when absent")
    model: dict[str, Any] = Field(
        default_factory=dict, description="lengths instead of the recipe's, as segment_len and window"
    )
    recall: dict[str, Any] = Field(default_factory=dict, description="instead of the recipe's, as lengths and keys")

    @property
    def warmup_steps(self) -> int:
        return min(self.steps // 10, 10_000)


class BMIConfig(Section):
    """``[train.bmi]``: neighbouring segments of a text should tell of each other (Cao and Xu 2020); off at weight 0.

    Published weights are 0.1 on Penn Treebank and 0.02 on WikiText-2, and 1.0 and 0.05 for the second phase.
    """

    weight: float = Field(0.0, ge=0, description="of the loss of a critic that tells neighbours from strangers")
    segment_len: int = Field(32, gt=0, description="tokens")
    hidden: int = Field(300, gt=0, description="units of the critic")
    likelihood_weight: float = Field(0.0, ge=0, description="of the second phase; 0 for none")
    after: int = Field(0, ge=0, description="steps before the second phase")
    candidates: int = Field(4, gt=0, description="segments drawn that could have followed")
    geometric: float = Field(0.3, gt=0, lt=1, description="near 1, they are drawn next to the one that did follow")
    temperature: float = Field(1.0, gt=0, description="high, all that are drawn count alike")

    @model_validator(mode="after")
    def _the_first_phase_comes_first(self) -> Self:
        if self.likelihood_weight and not self.weight:
            raise ValueError("likelihood_weight needs the critic that weight trains; set weight, e.g. to 0.1")
        return self

    @property
    def is_on(self) -> bool:
        return self.weight > 0


class TrainConfig(Section):
    """The loop: AdamW, linear warm-up, cosine decay to ``min_lr``, clipping by global norm.

    With ``stages``, these are trained one after the other, the optimizer's moments carried over: ``steps`` is their sum
    whatever it says, and ``lr``, ``min_lr`` and ``warmup_steps`` have no say.

    After ``update_every_after`` steps, weights are updated every ``update_every`` steps by the mean gradient of those.
    Rae et al. (2019) end training so, every 4 steps after 60,000, instead of lowering the rate early.

    ``at_document_end`` says what becomes of memory there. ``carry``: it goes on into the next document, which begins
    with BOS. ``reset``: every document begins with an empty memory, and with a segment: what its last one has room for
    is filled up and not scored.

    In ``bfloat16`` the model runs under ``torch.autocast``, in steps and in the validations between them; weights,
    moments, losses and what a transformer remembers stay float32, and so do evaluations and samples afterwards.
    """

    stages: tuple[StageConfig, ...] = ()
    steps: int = Field(1000, gt=0, validate_default=True)
    batch_size: int = Field(16, gt=0, description="contiguous streams")
    lr: float = Field(1e-3, gt=0)
    min_lr: float = Field(0.0, ge=0)
    warmup_steps: int = Field(100, ge=0)
    weight_decay: float = Field(0.0, ge=0)
    beta1: float = Field(0.9, ge=0, lt=1)
    beta2: float = Field(0.99, ge=0, lt=1)
    grad_clip: float = Field(0.25, gt=0, description="of the auxiliary losses' gradient likewise, apart")
    update_every: int = Field(1, gt=0)
    update_every_after: int = Field(0, ge=0)
    precision: Literal["float32", "bfloat16"] = "float32"
    init: Path | None = Field(None, description="a run whose weights and tokenizer training begins with")
    at_document_end: AtDocumentEnd = "carry"
    seed: int = 1
    log_every: int = Field(10, gt=0)
    eval_every: int = Field(500, gt=0)
    checkpoint_every: int = Field(500, gt=0)
    keep_checkpoints: int = Field(2, gt=0)
    num_threads: int | None = Field(None, gt=0, description="torch threads; all cores when absent")
    tensorboard: bool = False
    bmi: BMIConfig = BMIConfig()

    @field_validator("steps")
    @classmethod
    def _of_all_stages(cls, steps: int, info: ValidationInfo) -> int:
        return sum(stage.steps for stage in info.data.get("stages", ())) or steps

    @field_validator("init")
    @classmethod
    def _absolute(cls, path: Path | None) -> Path | None:
        return path and path.expanduser().absolute()

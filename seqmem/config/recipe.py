"""A whole recipe, and its sections about what a trained model is used for."""

from typing import Annotated, Any, Self

from pydantic import Field, ValidationError, ValidatorFunctionWrapHandler, field_validator, model_validator

from seqmem.config.data import CodecConfig, DataConfig, TokenizerConfig
from seqmem.config.objectives import MaskingConfig, RecallConfig, TaskConfig
from seqmem.config.training import AtDocumentEnd, TrainConfig
from seqmem.schema import Section

Slots = Annotated[int, Field(ge=0)]


class EvalConfig(Section):
    """Evaluation reads the whole split; lengths here replace the model's when given."""

    batch_size: int = Field(1, gt=0, description="contiguous streams the split is cut into; or documents side by side")
    at_document_end: AtDocumentEnd | None = Field(None, description="train.at_document_end when absent")
    segment_len: int | None = Field(None, gt=0)
    mem_len: Slots | tuple[Slots, ...] | None = Field(None, description="tokens of memory, or one number a layer")
    cmem_len: Slots | tuple[Slots, ...] | None = Field(None, description="slots of compressed memory, or one a layer")

    @field_validator("mem_len", "cmem_len", mode="wrap")
    @classmethod
    def _one_message_for_both_forms(cls, value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
        try:
            return handler(value)
        except ValidationError:
            raise ValueError("give a number from 0 up, or one a layer, as [16, 16, 128]") from None


class GenerateConfig(Section):
    """The sample made at the end of training, and the defaults of ``seqmem generate`` and ``seqmem generate-audio``."""

    prompt: str = Field("", description="of text")
    tokens: int = Field(200, gt=0, description="of text")
    seconds: float = Field(4.0, gt=0, description="of sound")
    temperature: float = Field(0.8, ge=0)
    top_p: float = Field(0.95, gt=0, le=1)


class Recipe(Section):
    """Everything that determines a run."""

    name: str
    description: str
    backend: str = "auto"
    data: DataConfig = DataConfig()
    tokenizer: TokenizerConfig = TokenizerConfig()
    codec: CodecConfig | None = Field(None, description="of an audio recipe; a text recipe has none")
    masking: MaskingConfig | None = Field(None, description="of an encoder's recipe")
    task: TaskConfig | None = Field(None, description="of the recipe of an encoder that answers")
    recall: RecallConfig | None = Field(None, description="of the recipe of a causal model that answers")
    model: dict[str, Any] = Field(description="name, optionally size, and overrides of that model's configuration")
    train: TrainConfig = TrainConfig()
    eval: EvalConfig = EvalConfig()
    generate: GenerateConfig = GenerateConfig()

    @field_validator("model")
    @classmethod
    def _model_is_named(cls, model: dict[str, Any]) -> dict[str, Any]:
        if not isinstance(model.get("name"), str):
            raise ValueError("needs the name of a model")
        if "vocab_size" in model:
            raise ValueError("vocab_size is the tokenizer's; set tokenizer.vocab_size")
        return model

    @model_validator(mode="after")
    def _encoders_read_text(self) -> Self:
        if self.is_encoder and self.codec:
            raise ValueError("an encoder reads text; leave [codec] out")
        if self.is_encoder and self.train.bmi.is_on:
            raise ValueError("train.bmi is of causal models; leave it out")
        return self

    @model_validator(mode="after")
    def _memory_meets_documents(self) -> Self:
        asked = {"train": self.train.at_document_end == "reset", "eval": self.eval.at_document_end is not None}
        if (self.is_encoder or self.recall) and any(asked.values()):
            section = next(name for name, is_asked in asked.items() if is_asked)
            raise ValueError(f"{section}.at_document_end is of models that read text on and on; leave it out")
        return self

    @model_validator(mode="after")
    def _has_one_objective(self) -> Self:
        given = [f"[{name}]" for name in ("masking", "task", "recall") if getattr(self, name)]
        if len(given) > 1:
            raise ValueError(f"a run has one objective; leave out {' or '.join(given)}")
        if self.recall and (self.codec or self.tokenizer.kind != "bytes"):
            raise ValueError('[recall] is of bytes of text; set tokenizer.kind = "bytes" and leave [codec] out')
        return self

    @model_validator(mode="after")
    def _data_is_of_its_kind(self) -> Self:
        if not self.data.path and not self.data.download and (self.data.corpus == "kjv") == bool(self.codec):
            kind, wanted = ("sounds", "text") if self.codec else ("text", "sounds")
            raise ValueError(f"data.corpus = '{self.data.corpus}' is {wanted}, the recipe wants {kind}; set data.path")
        return self

    @property
    def at_document_end_in_eval(self) -> AtDocumentEnd:
        """What becomes of memory there when the model is measured."""
        return self.eval.at_document_end or self.train.at_document_end

    @property
    def is_encoder(self) -> bool:
        """Whether the model reads whole texts, to both sides, instead of going on with them."""
        return bool(self.masking or self.task)

    @property
    def is_scored(self) -> bool:
        """Whether right answers count instead of likelihoods."""
        return bool(self.task or self.recall)

    @property
    def vocabulary_settings(self) -> dict[str, Any]:
        """What the tokenizer or the codec decides in the model's configuration."""
        return self.codec.model_settings if self.codec else {"vocab_size": self.tokenizer.vocab_size}

    @property
    def model_name(self) -> str:
        """The model as ``name`` or ``name/size``."""
        return "/".join(str(self.model[key]) for key in ("name", "size") if key in self.model)

    @property
    def model_overrides(self) -> dict[str, Any]:
        """What the recipe changes in that model's configuration."""
        return {key: value for key, value in self.model.items() if key not in ("name", "size")}

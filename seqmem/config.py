"""The sections of a recipe."""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    Field,
    ValidationError,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    field_validator,
    model_validator,
)

from seqmem.schema import Section

BYTE_VOCAB_SIZE = 257
MIN_PIECES = 260


Positive = Annotated[int, Field(gt=0)]
Slots = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]


def in_order(lengths: tuple[int, int]) -> tuple[int, int]:
    """Fewest and most."""
    if not 0 < lengths[0] <= lengths[1]:
        raise ValueError("give two numbers above 0, the smaller first")
    return lengths


class DataConfig(Section):
    """Which text or sounds: the files in ``path`` where it is given, else a corpus that comes with the installation.

    ``path`` is a folder or a single file; with tokenizer.kind = "bytes" the file may hold anything. Of FASTA
    files, every record is a document.

    ``kjv`` is text; ``plucked-strings`` and ``sine`` are sounds, made when they are asked for. A recipe that comes
    without its data says in ``download`` where that is to be had.
    """

    corpus: Literal["kjv", "plucked-strings", "sine"] = "kjv"
    path: Path | None = None
    download: str = ""

    @property
    def name(self) -> str:
        """Of the files or the corpus."""
        return self.path.name if self.path else self.corpus

    @field_validator("path")
    @classmethod
    def _absolute(cls, path: Path | None) -> Path | None:
        """A run goes on, and is evaluated, from any folder."""
        return path and path.expanduser().absolute()


class TokenizerConfig(Section):
    """How text becomes tokens.

    ``unigram`` and ``bpe`` are SentencePiece models that the recipe trains on its training split. With ``bytes``, every
    byte is a token, and one more begins documents: ``vocab_size`` is 257 whatever it says.
    """

    kind: Literal["unigram", "bpe", "bytes"] = "unigram"
    vocab_size: int = Field(4096, validate_default=True)

    @field_validator("vocab_size")
    @classmethod
    def _of_its_kind(cls, vocab_size: int, info: ValidationInfo) -> int:
        if info.data.get("kind") == "bytes":
            return BYTE_VOCAB_SIZE
        if vocab_size <= MIN_PIECES:
            raise ValueError(f"give more than {MIN_PIECES}: every byte is a piece, too")
        return vocab_size


class CodecConfig(Section):
    """How a waveform becomes tokens.

    ``mu-law`` and ``linear`` have a token a sample and ``levels`` of them; ``two-byte`` writes 16 bits as a coarse and
    a fine token; ``logistic-mixture`` has a token a sample and 65,536 levels, whose distribution is a mixture of
    logistics.
    """

    kind: Literal["mu-law", "linear", "two-byte", "logistic-mixture"] = "mu-law"
    levels: int = Field(256, ge=2, le=1 << 16, description="of mu-law and linear")
    sample_rate: int = Field(16000, ge=1000, le=192000, description="samples a second; files are resampled to it")

    @property
    def tokens_a_sample(self) -> int:
        """2 for two-byte, else 1."""
        return 2 if self.kind == "two-byte" else 1

    @property
    def vocab_size(self) -> int:
        """Ids that tokens have; those of the two bytes of a sample differ."""
        return {"two-byte": 512, "logistic-mixture": 1 << 16}.get(self.kind, self.levels)

    @property
    def model_settings(self) -> dict[str, Any]:
        """What a model must be told about its tokens."""
        settings: dict[str, Any] = {"vocab_size": self.vocab_size}
        if self.kind == "logistic-mixture":
            settings["head"] = self.kind
        if self.tokens_a_sample > 1:
            settings["num_phases"] = self.tokens_a_sample
        return settings


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


class MaskingConfig(Section):
    """Masked language modelling, the training of encoders (Devlin et al. 2019).

    Of the picked tokens 80 % are hidden behind the mask, 10 % become another token and 10 % stay; all are to be told.
    Documents are cut into segments, which share nothing.
    """

    probability: float = Field(0.15, gt=0, lt=1, description="with which a token, or a word, is picked")
    whole_words: bool = Field(
        False,
        description="pick all pieces of a word together; a word begins at a piece that begins with a space or a line "
        "break, and after a line break",
    )
    segment_len: int | None = Field(
        None, gt=2, description="tokens of a segment, with CLS and SEP; the model's max_len when absent"
    )


class TaskConfig(Section):
    """Questions about long documents, made from the recipe's text; an encoder is trained to answer them.

    ``classification``: what do most of three witnesses say? The first token, CLS, has global attention.
    ``question-answering``: where is the answer to a question? The question has.
    """

    kind: Literal["classification", "question-answering"]
    lengths: tuple[int, int] = Field((96, 256), description="tokens of an example, fewest and most, drawn evenly")
    global_tokens: bool = Field(True, description="whether what asks sees everything, or has a window as all else")

    @field_validator("lengths")
    @classmethod
    def _in_order(cls, lengths: tuple[int, int]) -> tuple[int, int]:
        return in_order(lengths)


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


class RecallConfig(Section):
    """Facts in a long text, asked about at its end; a causal model learns to keep them in mind.

    The text is the recipe's, byte by byte. ``associative`` and ``copy`` have symbols of their own besides; ``number``
    and ``word`` have a sentence for every key, one of which is asked for; ``passkey`` has one whatever ``keys`` says.
    """

    task: Literal["passkey", "number", "word", "associative", "copy"]
    keys: int = Field(
        8, gt=0, validate_default=True, description="pairs, sentences or symbols to keep in mind, at most in training"
    )
    lengths: tuple[int, int] = Field((256, 2048), description="bytes of a sequence of training, fewest and most")
    rest: float = Field(0.0, ge=0, description="weight of the loss of what is no answer")
    eval_lengths: tuple[Positive, ...] = Field((256, 1024, 4096), min_length=1, description="bytes of what is measured")
    depths: tuple[Share, ...] = Field(
        (0.0, 0.5, 1.0), min_length=1, description="0 puts facts at the beginning, 1 right before the questions"
    )
    samples: int = Field(4, gt=0, description="sequences of each length and depth")

    @field_validator("keys")
    @classmethod
    def _of_its_task(cls, keys: int, info: ValidationInfo) -> int:
        return 1 if info.data.get("task") == "passkey" else keys

    @field_validator("lengths")
    @classmethod
    def _in_order(cls, lengths: tuple[int, int]) -> tuple[int, int]:
        return in_order(lengths)


class TrainConfig(Section):
    """The loop: AdamW, linear warm-up, cosine decay to ``min_lr``, clipping by global norm.

    With ``stages``, these are trained one after the other, the optimizer's moments carried over: ``steps`` is their sum
    whatever it says, and ``lr``, ``min_lr`` and ``warmup_steps`` have no say.

    After ``update_every_after`` steps, weights are updated every ``update_every`` steps by the mean gradient of those.
    Rae et al. (2019) end training so, every 4 steps after 60,000, instead of lowering the rate early.

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


class EvalConfig(Section):
    """Evaluation carries memory through the whole split; lengths here replace the model's when given."""

    batch_size: int = Field(1, gt=0, description="contiguous streams the split is cut into")
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

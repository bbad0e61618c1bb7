"""The sections of a recipe that say what is learnt, where it is not to read on."""

from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from seqmem.schema import Section

Positive = Annotated[int, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]


def in_order(lengths: tuple[int, int]) -> tuple[int, int]:
    """Fewest and most."""
    if not 0 < lengths[0] <= lengths[1]:
        raise ValueError("give two numbers above 0, the smaller first")
    return lengths


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

"""What an evaluation found: measures, and everything needed to compare them with others."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from seqmem.config import AtDocumentEnd
from seqmem.data.download.counts import WORDS, official_split
from seqmem.data.linear_prediction import Baselines
from seqmem.train.breakdown import Share


@dataclass(frozen=True, kw_only=True)
class Measurement(ABC):
    """Measures of a model, and what they were computed from.

    Attributes:
        file: where a run keeps it.
        text: what was measured, in words.
    """

    file: ClassVar[str] = "eval.json"

    text: str

    @abstractmethod
    def measures(self) -> dict[str, float | None]:
        """The measures by name; an infinite one, which JSON cannot say, is None."""

    @abstractmethod
    def summary(self) -> str:
        """The measures in a line."""

    @abstractmethod
    def rows(self) -> dict[str, str]:
        """What :meth:`table` says, by its headings."""

    def tables(self) -> str:
        """The measures in more detail."""
        return ""

    def to_json(self) -> dict[str, Any]:
        """The measures, then what they were computed from."""
        return {**self.measures(), **asdict(self)}

    def table(self) -> str:
        """One line a measure, with its denominator."""
        return "\n".join(f"{name:<23}{value}" for name, value in self.rows().items())


@dataclass(frozen=True, kw_only=True)
class Evaluation(Measurement):
    """A likelihood and how it was measured.

    Attributes:
        total_nats: negative log-likelihood of all of it.
        num_tokens: scored tokens; what begins a document is not scored.
        num_documents: texts or recordings.
        lengths: segment and memory, of those that the model has.
        memory: what is carried from segment to segment, in words.
        at_document_end: what becomes of that there.
        num_streams: read side by side; where memory is carried on, each starts with an empty one.
        windows: context and stride, where windows that overlap were read instead.
        by_position: nats a token by how many tokens of its own document are before it.
        by_position_in_window: by how many tokens of its window are, where windows were read.
        by_word_frequency: nats a word by how often it occurs in the training text, where that was counted.
    """

    total_nats: float
    num_tokens: int
    num_documents: int
    lengths: dict[str, Any]
    memory: str
    at_document_end: AtDocumentEnd
    num_streams: int
    windows: tuple[int, int] | None
    by_position: list[Share]
    by_position_in_window: list[Share] | None
    by_word_frequency: list[Share] | None

    @property
    def nats_per_token(self) -> float:
        return self.total_nats / self.num_tokens

    @property
    def context(self) -> str:
        """What the model could see, in words."""
        if self.windows:
            context, stride = self.windows
            alone = ", none with more than one document" if self.at_document_end == "reset" else ""
            return f"overlapping windows of {context} tokens, {stride} apart, each begun without memory{alone}"
        segments = f"segments of {self.lengths['segment_len']} tokens, {self.memory} carried from segment to segment"
        if self.at_document_end == "reset":
            return f"{segments}, reset at a document's end"
        streams = f"{self.num_streams} stream{'s' * (self.num_streams > 1)}"
        return f"{segments} and from document to document; {streams}"

    def tables(self) -> str:
        """Where the nats come from: places of tokens, and words."""
        tables = {
            "tokens of the document before it, nats/token": self.by_position,
            "tokens of the window before it, nats/token": self.by_position_in_window,
            "times its word is in the training text, nats/word": self.by_word_frequency,
        }
        return "\n\n".join(_listed(heading, shares) for heading, shares in tables.items() if shares)

    def measures(self) -> dict[str, float | None]:
        return {"nats_per_token": self.nats_per_token}

    def summary(self) -> str:
        return f"{self.nats_per_token:.4f} nats/token"

    def rows(self) -> dict[str, str]:
        return {
            "text": self.text,
            "documents": f"{self.num_documents:,}",
            "nats/token": f"{self.nats_per_token:.4f} ({self.num_tokens:,} tokens)",
        }

    def to_json(self) -> dict[str, Any]:
        """The measures, then what they were computed from, every length under its own name."""
        record = asdict(self)
        lengths = record.pop("lengths")
        return {**self.measures(), "context": self.context, **record, **lengths}


@dataclass(frozen=True, kw_only=True)
class TextEvaluation(Evaluation):
    """Of text.

    Attributes:
        num_bytes: UTF-8 bytes of the text.
        num_words: whitespace words of the text.
        tokenizer_hash: of the tokenizer's model.

    Texts that are a split of PG-19 are measured by its official number of words.
    """

    num_bytes: int
    num_words: int
    tokenizer_hash: str

    @property
    def bits_per_byte(self) -> float:
        return self.total_nats / math.log(2) / self.num_bytes

    @property
    def denominator(self) -> tuple[int, str]:
        """The number of words that perplexity is by, and what they are."""
        if split := official_split(self.num_documents, self.num_words):
            return WORDS[split], f"official PG-19 {split} words"
        return self.num_words, "whitespace words"

    @property
    def word_perplexity(self) -> float:
        """``exp(total nats / words)``, which no tokenization changes; infinite beyond float64."""
        nats_per_word = self.total_nats / self.denominator[0]
        return math.exp(nats_per_word) if nats_per_word < 709 else math.inf

    def measures(self) -> dict[str, float | None]:
        perplexity = self.word_perplexity
        return {
            **super().measures(),
            "bits_per_byte": self.bits_per_byte,
            "word_perplexity": perplexity if math.isfinite(perplexity) else None,
        }

    def summary(self) -> str:
        return (
            f"{super().summary()}  {self.bits_per_byte:.4f} bits/byte  word-level perplexity {self.word_perplexity:.2f}"
        )

    def to_json(self) -> dict[str, Any]:
        number, words = self.denominator
        return {**super().to_json(), "word_perplexity_divides_by": {"number": number, "of": words}}

    def rows(self) -> dict[str, str]:
        number, words = self.denominator
        return {
            **super().rows(),
            "bits/byte": f"{self.bits_per_byte:.4f} ({self.num_bytes:,} bytes)",
            "word-level perplexity": f"{self.word_perplexity:.2f} (total nats / {number:,} {words})",
            "context": self.context,
            "tokenizer": self.tokenizer_hash,
        }


@dataclass(frozen=True, kw_only=True)
class AudioEvaluation(Evaluation):
    """Of sound.

    Attributes:
        num_samples: scored samples.
        codec: what tokens are, as the recipe's section has it.
        baselines: what the sounds cost without a neural network, where that was counted.
    """

    num_samples: int
    codec: dict[str, Any]
    baselines: Baselines | None = None

    @property
    def bits_per_sample(self) -> float:
        return self.total_nats / math.log(2) / self.num_samples

    def measures(self) -> dict[str, float | None]:
        return {**super().measures(), "bits_per_sample": self.bits_per_sample}

    def summary(self) -> str:
        return f"{super().summary()}  {self.bits_per_sample:.4f} bits/sample"

    def rows(self) -> dict[str, str]:
        seconds = self.num_samples / self.codec["sample_rate"]
        rows = {
            **super().rows(),
            "bits/sample": f"{self.bits_per_sample:.4f} ({self.num_samples:,} samples, {seconds:,.1f} s)",
            "context": self.context,
            "codec": ", ".join(f"{name} {value}" for name, value in self.codec.items()),
        }
        return rows | ({"to beat": str(self.baselines)} if self.baselines else {})


def _listed(heading: str, shares: Sequence[Share]) -> str:
    """A table of nats: what they are of, how much, how many of it."""
    width = max(len(share.of) for share in shares)
    lines = (f"  {share.of:<{width}}  {share.nats:>8.4f}  ({share.count:,})" for share in shares)
    return "\n".join([heading, *lines])

"""A run's validation over training tokens, read between two validations on the straight line in nats/token."""

import math

import numpy as np

from seqmem.errors import SeqmemError
from seqmem.report.measure import measure_of
from seqmem.report.runs import RunRecord


class ValidationCurve:
    """The validations of a run: ``tokens [N]`` trained on and ``nats_per_token [N]``.

    Raises:
        SeqmemError: the run has not been validated yet.
    """

    def __init__(self, run: RunRecord):
        self._run = run
        self._key = f"validation_{measure_of(run.recipe).key}"
        self.tokens, self.nats_per_token = run.series("validation_nats_per_token")
        if not len(self.tokens):
            raise SeqmemError(f"run '{run.path}' has no validation yet; let it train for train.eval_every steps")

    def nats_at(self, tokens: float) -> float:
        """Nats/token after ``tokens`` training tokens.

        Raises:
            SeqmemError: the run was not validated on both sides of ``tokens``.
        """
        first, last = self.tokens[0], self.tokens[-1]
        slack = self._run.tokens_a_step / 2
        if not first - slack <= tokens <= last + slack:
            raise SeqmemError(
                f"run '{self._run.path}' was validated between {first:,.0f} and {last:,.0f} tokens and cannot be read "
                f"at {tokens:,.0f}; train it with a smaller train.eval_every or longer"
            )
        return float(np.interp(tokens, self.tokens, self.nats_per_token))

    def bits_at(self, tokens: float) -> float:
        """Bits/byte there, or bits/sample."""
        bits = self._run.series(self._key)[1]
        return self.nats_at(tokens) * bits[-1] / self.nats_per_token[-1]

    def word_perplexity_at(self, tokens: float) -> float:
        """Word-level perplexity there; infinite beyond float64, as in every record that lacks it."""
        for record in self._run.records:
            if perplexity := record.get("validation_word_perplexity"):
                tokens_per_word = math.log(perplexity) / record["validation_nats_per_token"]
                nats_per_word = tokens_per_word * self.nats_at(tokens)
                return math.exp(nats_per_word) if nats_per_word < 709 else math.inf
        return math.inf

"""Public test suites: the conformance of a backend, and the state law of a model."""

from seqmem.testing.conformance import Case, cases, run
from seqmem.testing.state_law import LawResult, check_state_law

__all__ = ["Case", "LawResult", "cases", "check_state_law", "run"]

"""The error a user can mend: one line that names the input, the reason and the fix."""

import difflib
from collections.abc import Iterable


class SeqmemError(Exception):
    """Bad input or an unmet requirement. The command line prints the message without a traceback and exits with 1."""


def nearest(word: str, choices: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` for the closest choice, else the list of all choices."""
    choices = sorted(choices)
    close = difflib.get_close_matches(word, choices, n=1, cutoff=0.5)
    return f"; did you mean '{close[0]}'?" if close else f"; known: {', '.join(choices)}"

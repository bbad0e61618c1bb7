"""Words as everything here counts them: what ``str.split`` finds."""

import numpy as np

BLOCK_LEN = 1 << 16
"""Characters looked at at a time, which fit in a cache."""

_IS_SPACE = np.array([chr(code).isspace() for code in range(0x3002)])
"""By code; none after the last is one."""


def count_words(text: str) -> int:
    """``len(text.split())`` without making the words: several times as fast, and other threads run meanwhile."""
    count, in_word = 0, False
    for start in range(0, len(text), BLOCK_LEN):
        codes = np.frombuffer(text[start : start + BLOCK_LEN].encode("utf-32-le", "surrogatepass"), np.uint32)
        spaces = _IS_SPACE.take(codes, mode="clip")
        count += int(np.count_nonzero(spaces[:-1] > spaces[1:])) + (not in_word and not spaces[0])
        in_word = not spaces[-1]
    return count

"""What others call a window of w, as a :class:`Band`.

A Band counts neighbours on each side and never the token itself: a causal window in which a token sees w tokens, itself
included, is ``Band(w - 1)``, a window of n neighbours on both sides ``Band(n, n)``.
"""

from seqmem.errors import SeqmemError
from seqmem.ops.pattern import Band


def from_longformer(window: int) -> Band:
    """Longformer's paper and Hugging Face's ``attention_window``: both sides together, the token itself not counted."""
    if window < 2 or window % 2:
        raise SeqmemError(f"attention_window = {window}: counts both sides of a token; give an even number from 2 up")
    return Band(window // 2, window // 2)


def from_longformer_code(window: int, dilation: int = 1, autoregressive: bool = False) -> Band:
    """The ``w`` of Longformer's own code: one side, the token itself not counted."""
    return Band(window, 0 if autoregressive else window, dilation)


def from_mistral(sliding_window: int) -> Band:
    """Mistral's ``sliding_window``: tokens that a token sees, itself counted, none after it."""
    if sliding_window < 1:
        raise SeqmemError(f"sliding_window = {sliding_window}: counts the token itself; give at least 1")
    return Band(sliding_window - 1)


def from_flash_attention(left: int, right: int, num_keys: int) -> Band:
    """FlashAttention's ``window_size = (left, right)``: neighbours on each side; -1 for all of ``num_keys`` keys."""
    return Band(*(num_keys - 1 if side < 0 else side for side in (left, right)))

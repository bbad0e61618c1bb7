"""How far a kernel may be from the truth: derived from what its precision costs an independent implementation."""

import torch
from torch import Tensor

ROUNDINGS = {torch.float64: 512, torch.float32: 8, torch.bfloat16: 2, torch.float16: 2}
"""Roundings of the largest value granted on top of twice the low-precision oracle's own error."""


def assert_within_budget(got: Tensor, truth: Tensor, low: Tensor, what: str) -> None:
    """Compare with the float64 ``truth``; ``low`` is the oracle computed in the kernel's precision.

    The error may be at most twice the oracle's, plus a few roundings of the largest value. Infinities must agree.

    Raises:
        AssertionError: naming ``what``, the error and the budget.
    """
    assert got.shape == truth.shape, f"{what}: shape {list(got.shape)}, want {list(truth.shape)}"
    assert not got.isnan().any(), f"{what}: {int(got.isnan().sum())} NaN of {got.numel()}"
    finite = truth.isfinite()
    assert torch.equal(got.isfinite(), finite), f"{what}: infinities differ"
    if not finite.any():
        return
    want = truth[finite]
    error = (got[finite].double() - want).abs().max().item()
    own = (low[finite].double() - want).abs().max().item()
    eps = torch.finfo(low.dtype).eps
    budget = 2 * own + ROUNDINGS[low.dtype] * eps * want.abs().max().clamp(min=1).item()
    assert error <= budget, f"{what}: error {error:.3g} above the budget {budget:.3g} (oracle's own {own:.3g})"

"""Admin, the initialisation that lets deep post-LN models learn (Liu et al. 2020, arXiv 2004.08249).

``x_i = LN(omega_i x_(i-1) + f_i(x_(i-1)))`` with ``omega_i^2 = Var f_1 + ... + Var f_(i-1)`` at first, and 1 for the
first branch: so the i-th branch is about a share 1 / i of what its layer gives, and the output of a deep model moves by
the logarithm of its depth, not by the depth, when its weights do.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from seqmem.layers.shortcut import Shortcut


@torch.no_grad()
def profile(model: nn.Module, read: Callable[[], object]) -> None:
    """Set every omega by the variances of the branches, in the order in which the model comes to them.

    No branch depends on its own omega, so one pass finds them all, each with those before it in place. A variance is
    that over tokens and channels, of a model's first call on a shortcut. A model without omegas reads nothing.

    Args:
        read: has the model read a batch as training does, dropout and padding included.
    """
    total = 0.0

    def measure(shortcut: Shortcut, inputs: tuple[Tensor, Tensor]) -> None:
        nonlocal total
        if shortcut.weight is not None and total > 0:
            shortcut.weight.fill_(total**0.5)
        total += inputs[1].float().var(correction=0).item()
        handles.pop(shortcut).remove()

    shortcuts = [module for module in model.modules() if isinstance(module, Shortcut)]
    if all(shortcut.weight is None for shortcut in shortcuts):
        return
    handles = {shortcut: shortcut.register_forward_pre_hook(measure) for shortcut in shortcuts}
    try:
        read()
    finally:
        for handle in handles.values():
            handle.remove()

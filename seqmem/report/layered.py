"""Operations that know which layer asks for them."""

from dataclasses import dataclass, field

from torch import nn

from seqmem.ops import Ops


@dataclass(frozen=True)
class LayeredOps(Ops):
    """Operations of a model whose layers :func:`follow` tells them of; subclasses look at what is asked for."""

    now: list[int] = field(default_factory=list)

    def enter(self, layer: int) -> None:
        """What follows belongs to this layer."""
        self.now[:] = [layer]

    @property
    def layer(self) -> int:
        """That asks, from 0."""
        return self.now[0]


def follow(model: nn.Module, ops: LayeredOps) -> int:
    """Tell ``ops`` of every layer of ``model`` that is entered from here on; how many there are."""
    mixers = [
        module for module in model.modules() if isinstance(getattr(module, "ops", None), Ops) and module is not model
    ]
    for layer, mixer in enumerate(mixers):
        mixer.register_forward_pre_hook(lambda *_, layer=layer: ops.enter(layer))
    return len(mixers)

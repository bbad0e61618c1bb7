"""seqmem: long-memory sequence models, written once, computed by interchangeable backends."""

from importlib import import_module

__version__ = "0.1.0"

_LAZY = {
    "ops": ("seqmem.ops", None),
    "testing": ("seqmem.testing", None),
    "build_model": ("seqmem.models", "build_model"),
    "load": ("seqmem.train.checkpoint", "load"),
    "load_encoder": ("seqmem.train.checkpoint", "load_encoder"),
}

__all__ = ["__version__", "build_model", "load", "load_encoder", "ops", "testing"]


def __getattr__(name: str):
    """Import parts on first use, so that ``import seqmem`` stays free of torch."""
    if name not in _LAZY:
        raise AttributeError(f"module 'seqmem' has no attribute '{name}'")
    module, attribute = _LAZY[name]
    value = import_module(module)
    return getattr(value, attribute) if attribute else value

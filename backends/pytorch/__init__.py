"""Windowed attention in plain PyTorch: every product is a dense matrix multiplication over overlapping chunks."""

from .backend import PyTorchBackend

__all__ = ["PyTorchBackend"]

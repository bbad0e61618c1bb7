"""Diagonal-matmul attention in kernels compiled by TVM."""

from .backend import TVMBackend

__all__ = ["TVMBackend"]

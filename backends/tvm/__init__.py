"""Diagonal-matmul attention in kernels compiled by TVM. Free of torch itself, since kernels compile without it."""

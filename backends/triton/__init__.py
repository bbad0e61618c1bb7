"""The waist in Triton, for NVIDIA GPUs; under ``TRITON_INTERPRET=1`` the same kernels run on CPUs, for their values."""

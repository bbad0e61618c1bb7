"""The backend of Triton's kernels."""

from types import MappingProxyType

import torch

from seqmem.ops.backend import AttentionBackend

from . import band
from .attend import attend
from .convolution import causal_conv1d
from .gradients import attend_backward
from .installed import interpreting
from .linear_attention import linear_attention
from .scan import scan
from .step import GraphStep


class TritonBackend(AttentionBackend):
    """Fused attention and band kernels on tensor cores; sums in float32."""

    name = "triton"
    dtypes = (torch.float32, torch.bfloat16, torch.float16)
    devices = ("cpu", "cuda") if interpreting() else ("cuda",)
    attend_patterns = ("Band", "Dense", "Gather")
    auto_rank = MappingProxyType({"cuda": 1})

    band_qk = staticmethod(band.band_qk)
    band_pv = staticmethod(band.band_pv)
    band_pv_t = staticmethod(band.band_pv_t)
    attend = staticmethod(attend)
    attend_backward = staticmethod(attend_backward)
    scan = staticmethod(scan)
    linear_attention = staticmethod(linear_attention)
    causal_conv1d = staticmethod(causal_conv1d)
    compile_step = staticmethod(GraphStep)

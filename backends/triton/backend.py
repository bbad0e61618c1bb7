"""The backend of Triton's kernels."""

from types import MappingProxyType

import torch
from torch import Tensor

from seqmem.ops.backend import Attention, AttentionBackend, Gradients
from seqmem.ops.pattern import Band

from . import attend, band, gradients
from .convolution import causal_conv1d
from .installed import interpreting, unavailable
from .linear_attention import linear_attention
from .scan import scan


class TritonBackend(AttentionBackend):
    """Fused attention and band kernels on tensor cores; sums in float32."""

    name = "triton"
    dtypes = (torch.float32, torch.bfloat16, torch.float16)
    devices = ("cpu", "cuda") if interpreting() else ("cuda",)
    attend_patterns = ("Band", "Dense", "Gather")
    auto_rank = MappingProxyType({"cuda": 1})

    scan = staticmethod(scan)
    linear_attention = staticmethod(linear_attention)
    causal_conv1d = staticmethod(causal_conv1d)

    def unavailable(self) -> str | None:
        return unavailable()

    def band_qk(self, q: Tensor, k: Tensor, band_: Band) -> Tensor:
        return band.band_qk(q, k, band_)

    def band_pv(self, p: Tensor, v: Tensor, band_: Band) -> Tensor:
        return band.band_pv(p, v, band_)

    def band_pv_t(self, p: Tensor, g: Tensor, band_: Band, num_keys: int) -> Tensor:
        return band.band_pv_t(p, g, band_, num_keys)

    def attend(self, call: Attention) -> tuple[Tensor, Tensor]:
        return attend.attend(call)

    def attend_backward(self, call: Attention, out: Tensor, lse: Tensor, dout: Tensor, dlse: Tensor) -> Gradients:
        return gradients.attend_backward(call, out, lse, dout, dlse)

"""Generation token by token: a step as one CUDA graph against the model's own forward."""

import time
from typing import Any

import torch

from seqmem.models import build_model
from seqmem.models.base import CausalModel, ForwardStep, GenerationStep
from seqmem.ops import bind

FULL = {
    "vocab_size": 32_000,
    "num_layers": 12,
    "d_model": 1024,
    "num_heads": 16,
    "head_dim": 64,
    "d_inner": 4096,
    "pre_norm": True,
    "segment_len": 256,
    "mem_len": 1024,
}
TINY = {"segment_len": 3, "mem_len": 5, "num_layers": 1, "num_heads": 1}


def generation(rehearse: bool, found: dict[str, Any]) -> None:
    """Tokens a second of one stream and of 16, by dtype, and by how much hidden states differ from the forward's."""
    device, dtypes = ("cpu", [torch.float32]) if rehearse else ("cuda", [torch.float32, torch.bfloat16])
    for dtype in dtypes:
        torch.manual_seed(0)
        model = build_model("transformer-xl/tiny", bind("triton"), **(TINY if rehearse else FULL))
        model = model.to(device, dtype).eval()
        for streams in (1, 16):
            row = found[f"{str(dtype).removeprefix('torch.')}, {streams}"] = _compared(model, streams, device)
            print(dtype, streams, row, flush=True)


@torch.no_grad()
def _compared(model: CausalModel, streams: int, device: str) -> dict[str, float]:
    """Of tokens that cross a segment's border, memory full."""
    length = model.config.segment_len
    tokens = torch.randint(model.config.vocab_size, (streams, 9 * length), device=device)
    before, after = tokens.split([7 * length, 2 * length], 1)
    state = model(before).state
    ways: dict[str, GenerationStep] = {
        "graph": model.generation_step(state),
        "forward": ForwardStep(model, state),
    }
    row, hidden = {}, {}
    for name, step in ways.items():
        step(after[:, 0])
        started = time.perf_counter()
        hidden[name] = torch.stack([step(token) for token in after[:, 1:].unbind(1)], 1)
        if device == "cuda":
            torch.cuda.synchronize()
        row[f"{name}_tokens_per_second"] = streams * (2 * length - 1) / (time.perf_counter() - started)
    row["difference"] = (hidden["graph"] - hidden["forward"]).abs().max().item()
    row["largest"] = hidden["forward"].abs().max().item()
    return row

"""Hugging Face's Transformer-XL with copied weights: hidden states, losses and memories over several segments.

Its memory starts as zeros that take part, which is ``memory_init = "zeros"`` here. Weights have std 0.2 and all biases
are non-zero, so that a wrong scale or a forgotten term shows. In float32, because the peer masks in float32.
"""

from typing import Any

import torch
from transformers import TransfoXLConfig, TransfoXLLMHeadModel

from seqmem.convert.export_hf import their_tensors
from seqmem.convert.table import of_model
from seqmem.models import build_model
from seqmem.ops import bind

TOLERANCE = 2e-4
SHAPES = dict(vocab_size=60, num_layers=3, d_model=24, num_heads=3, head_dim=8, d_inner=40)
SETTINGS = [
    dict(segment_len=7, mem_len=7),
    dict(segment_len=5, mem_len=12),
    dict(segment_len=9, mem_len=4),
    dict(segment_len=6, mem_len=10, clamp_len=8),
    dict(segment_len=6, mem_len=10, same_length=True, clamp_len=5),
    dict(segment_len=6, mem_len=8, pre_norm=True, untie_uv=True),
]


def peer(ours: Any) -> TransfoXLLMHeadModel:
    c = ours.config
    config = TransfoXLConfig(
        vocab_size=c.vocab_size,
        cutoffs=[],
        d_model=c.d_model,
        d_embed=c.d_model,
        n_head=c.num_heads,
        d_head=c.head_dim,
        d_inner=c.d_inner,
        div_val=1,
        n_layer=c.num_layers,
        mem_len=c.mem_len,
        clamp_len=c.clamp_len,
        same_length=c.same_length,
        pre_lnorm=c.pre_norm,
        untie_r=c.untie_uv,
        dropout=0.0,
        dropatt=0.0,
    )
    theirs = TransfoXLLMHeadModel(config).eval()
    own = their_tensors(of_model("transformer-xl"), ours, {})
    assert not theirs.load_state_dict(own, strict=False).unexpected_keys
    return theirs


@torch.no_grad()
def compare(settings: dict) -> float:
    """Largest difference in hidden states, token losses and memories."""
    torch.manual_seed(0)
    ours = build_model("transformer-xl/tiny", bind("pytorch"), **(SHAPES | settings), memory_init="zeros").eval()
    for parameter in ours.parameters():
        torch.nn.init.normal_(parameter, 0, 0.2)
    if settings.get("pre_norm"):
        # The peer has no norm after the last block.
        ours.final_norm = torch.nn.Identity()
    theirs = peer(ours)
    length = ours.config.segment_len
    ids = torch.randint(0, ours.config.vocab_size, (2, 6 * length))
    state, mems, worst = ours.init_state(2), None, 0.0
    for segment in ids.split(length, 1):
        out = ours(segment, state)
        body = theirs.transformer(segment, mems=mems)
        state, mems = out.state, body.mems
        worst = max(worst, (out.hidden - body.last_hidden_state).abs().max().item())
        nll = ours.head.nll(out.hidden[:, :-1], segment[:, 1:])
        peer_nll = theirs.crit(body.last_hidden_state, segment).view(2, -1)
        worst = max(worst, (nll - peer_nll).abs().max().item())
        for memory, peer_memory in zip(state.past, mems, strict=False):
            worst = max(worst, (memory - peer_memory.transpose(0, 1)).abs().max().item())
    return worst


def main() -> None:
    results = {str(settings): compare(settings) for settings in SETTINGS}
    for settings, worst in results.items():
        print(f"{worst:.2e}  {settings}")
    if max(results.values()) > TOLERANCE:
        raise SystemExit(f"differs from Hugging Face's Transformer-XL by more than {TOLERANCE}")


main()

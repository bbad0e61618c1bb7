"""Hugging Face's BigBird with copied weights: hidden states and logits, in float32.

Weights have std 0.2, norms and biases are not trivial, lengths are odd, tokens of two kinds. First as that code is
outside training: every random block is the first one; texts are padded, and the peer pads to whole blocks by itself.
Then with random blocks: the peer is given those that we draw, one text at a time, since its layout is one for a batch.
"""

from types import MethodType
from typing import Any

import numpy as np
import torch
from transformers import BigBirdForMaskedLM
from twins import randomised, twin

from seqmem.layers.block_attention import bigbird_layout
from seqmem.models.bigbird import BigBird
from seqmem.models.bigbird import BigBirdConfig as Config
from seqmem.ops import bind

TOLERANCE = 1e-4
SHAPES = dict(vocab_size=70, max_len=120, num_layers=3, d_model=24, num_heads=3, d_inner=40, num_random_blocks=2)


def give_random_blocks(theirs: BigBirdForMaskedLM, ours: Any) -> None:
    """Let every layer of the peer use the random blocks of ours."""
    for index, layer in enumerate(theirs.bert.encoder.layer):
        seed = ours.config.layout_seed + index

        def drawn(self: Any, *, from_seq_length: int, seed: int = seed, **_: Any) -> list[np.ndarray]:
            shape = (self.num_attention_heads, from_seq_length // self.block_size)
            added = bigbird_layout(*shape, self.num_random_blocks, seed) & ~bigbird_layout(*shape, 0, seed)
            return [np.stack([row.nonzero()[0] for row in head[1:-1]]) for head in added]

        attention = layer.attention.self
        attention._bigbird_block_rand_mask_with_head = MethodType(drawn, attention)


@torch.no_grad()
def compare(layout: str, attention_type: str, block_size: int, length: int) -> float:
    """Largest difference in hidden states and logits of tokens."""
    torch.manual_seed(0)
    ours = randomised(BigBird(Config(**SHAPES, block_size=block_size, layout=layout), bind("pytorch")))
    theirs = twin(ours, "bigbird", attention_type=attention_type)
    if layout == "drawn":
        give_random_blocks(theirs, ours)
    lengths = [length] if layout == "drawn" else [length, length - 4, length // 2]
    valid = torch.arange(length) < torch.tensor(lengths)[:, None]
    ids = torch.randint(1, ours.config.vocab_size, valid.shape).where(valid, 0)
    types = torch.randint(2, valid.shape)
    hidden = ours(ids, valid, types=types)
    found = theirs(ids, attention_mask=valid.long(), token_type_ids=types, output_hidden_states=True)
    pairs = ((hidden, found.hidden_states[-1][:, :length]), (ours.head.logits(hidden), found.logits))
    return max((our[valid] - their[valid]).abs().max().item() for our, their in pairs)


def main() -> None:
    settings = [("hugging-face", "block_sparse", 4, length) for length in (11, 36, 37, 64, 77, 117)]
    settings += [("hugging-face", "original_full", 16, length) for length in (29, 77)]
    settings += [("drawn", "block_sparse", 4, length) for length in (35, 37, 64, 101)]
    results = {setting: compare(*setting) for setting in settings}
    for (layout, attention_type, block_size, length), worst in results.items():
        print(f"{worst:.2e}  {length} tokens in blocks of {block_size}, {attention_type}, random blocks: {layout}")
    if max(results.values()) > TOLERANCE:
        raise SystemExit(f"differs from Hugging Face's BigBird by more than {TOLERANCE}")


main()

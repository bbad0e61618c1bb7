"""Hugging Face's Longformer with copied weights: hidden states and logits, in float32.

Weights have std 0.2, norms and biases are not trivial; texts are padded and of odd lengths, two or more tokens are
global, at places that differ from row to row. The peer pads to whole windows by itself.
"""

import torch
from twins import randomised, twin

from seqmem.models.longformer import Longformer
from seqmem.models.longformer import LongformerConfig as Config
from seqmem.ops import bind

TOLERANCE = 1e-4
PADDING = 1
SHAPES = dict(vocab_size=70, max_len=90, num_layers=3, d_model=24, num_heads=3, d_inner=40, window=(4, 2, 8))


@torch.no_grad()
def compare(length: int, with_globals: bool) -> float:
    """Largest difference in hidden states and logits of tokens."""
    torch.manual_seed(0)
    ours = randomised(Longformer(Config(**SHAPES), bind("pytorch")))
    theirs = twin(ours, "longformer")
    ids = torch.randint(2, ours.config.vocab_size, (3, length))
    valid = torch.arange(length) < torch.tensor([[length], [length - 4], [length // 2]])
    ids = ids.where(valid, PADDING)
    mask = torch.zeros(3, length, dtype=torch.bool)
    if with_globals:
        for row, places in enumerate(([1, 5, 8], [0, 3], [2, 4])):
            mask[row, places] = True
    hidden = ours(ids, valid, mask)
    found = theirs(ids, attention_mask=valid.long(), global_attention_mask=mask.long(), output_hidden_states=True)
    pairs = ((hidden, found.hidden_states[-1][:, :length]), (ours.head.logits(hidden), found.logits[:, :length]))
    return max((our[valid] - their[valid]).abs().max().item() for our, their in pairs)


def main() -> None:
    settings = [(length, with_globals) for length in (11, 29, 64, 77) for with_globals in (False, True)]
    results = {setting: compare(*setting) for setting in settings}
    for (length, with_globals), worst in results.items():
        print(f"{worst:.2e}  {length} tokens, {'with' if with_globals else 'without'} global tokens")
    if max(results.values()) > TOLERANCE:
        raise SystemExit(f"differs from Hugging Face's Longformer by more than {TOLERANCE}")


main()

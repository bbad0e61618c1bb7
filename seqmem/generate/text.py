"""Text from a model, streamed as it is decided."""

import codecs
from collections.abc import Iterator

import torch

from seqmem.data.text_vocabulary import TextVocabulary
from seqmem.layers.head import Sampler
from seqmem.models.base import CausalModel


@torch.no_grad()
def generate(
    model: CausalModel, tokenizer: TextVocabulary, prompt: str, tokens: int, sampler: Sampler
) -> Iterator[str]:
    """Continue ``prompt``, which is read as the beginning of a document.

    Args:
        model: in eval mode.
        tokenizer: the model's.
        prompt: any text; an empty one starts from BOS alone.
        tokens: how many to draw.
        sampler: how to draw them, such as :class:`seqmem.generate.sampling.Sampler`.

    Yields:
        Pieces of the continuation, without the prompt; a character whose bytes span tokens comes when it is whole.
    """
    device = next(model.parameters()).device
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    ids = torch.tensor([[tokenizer.bos_id, *tokenizer.encode(prompt).tolist()]], device=device)
    out = model(ids, model.init_state(1))
    hidden, step = out.hidden[:, -1], model.generation_step(out.state)
    for remaining in range(tokens - 1, -1, -1):
        token = model.head.sample(hidden, sampler)
        if piece := decoder.decode(tokenizer.decode_bytes(token.tolist()), final=not remaining):
            yield piece
        if remaining:
            hidden = step(token)

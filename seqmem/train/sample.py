"""What a finished run leaves to be read or heard."""

from pathlib import Path

import torch

from seqmem.config import Recipe
from seqmem.data.codec import Codec
from seqmem.data.text_vocabulary import TextVocabulary
from seqmem.data.vocabulary import Vocabulary
from seqmem.generate.audio import write_sound
from seqmem.generate.sampling import Sampler
from seqmem.generate.text import generate
from seqmem.models.base import CausalModel


def leave_sample(model: CausalModel, vocabulary: Vocabulary, recipe: Recipe, run_dir: Path) -> str:
    """Write ``sample.txt`` or ``sample.wav`` into ``run_dir``; say what is in it and what to do next."""
    options = recipe.generate
    sampler = Sampler(options.temperature, options.top_p, torch.Generator().manual_seed(recipe.train.seed))
    if isinstance(vocabulary, Codec):
        file = run_dir / "sample.wav"
        write_sound(model, vocabulary, file, options.seconds, sampler)
        return f"\n{file}: {options.seconds:g} s\nNext: seqmem generate-audio {run_dir}\n      seqmem eval {run_dir}"
    assert isinstance(vocabulary, TextVocabulary)
    text = options.prompt + "".join(generate(model, vocabulary, options.prompt, options.tokens, sampler))
    (run_dir / "sample.txt").write_text(text, encoding="utf-8")
    return f'\n{text}\n\nNext: seqmem generate {run_dir} --prompt "..."\n      seqmem eval {run_dir}'

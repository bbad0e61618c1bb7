"""A model of ours becomes one of Hugging Face's."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from seqmem.convert import folder
from seqmem.convert.architecture import Architecture
from seqmem.convert.table import of_model
from seqmem.convert.target import new_folder
from seqmem.models.fold import fold_admin
from seqmem.ops import bind
from seqmem.train.checkpoint import find_checkpoint, load_from, read_config


def export_hf(path: Path, out: Path) -> list[str]:
    """Write the model of a run, checkpoint or imported folder as transformers has it, and return notes for its user.

    What an import kept of their configuration, such as the ids of special tokens, and their tokenizer come back.

    Raises:
        SeqmemError: a model that Hugging Face does not have, or an ``out`` that exists.
    """
    checkpoint = find_checkpoint(path)
    about = read_config(checkpoint)
    architecture = of_model(about["model"]["name"])
    model = fold_admin(load_from(architecture.registry, checkpoint, bind("pytorch")))
    kept = about.get("hugging_face", {})
    theirs = architecture.their_config(model.config, kept)
    tensors = their_tensors(architecture, model, theirs)
    with new_folder(out) as partial:
        folder.write(partial, theirs, tensors)
        folder.copy_tokenizer(checkpoint / folder.KEPT_TOKENIZER, partial)
    return list(architecture.export_notes(model.config, kept))


def their_tensors(architecture: Architecture, model: nn.Module, theirs: Mapping[str, Any]) -> dict[str, Tensor]:
    """A model's weights under their names, a tied one once."""
    parameters = dict(model.named_parameters())
    tensors: dict[str, Tensor] = {}
    for pair in architecture.pairs(model.config, theirs):
        tensors |= pair.split(parameters.pop(pair.ours).detach())
    assert not parameters, f"no names for {sorted(parameters)}"
    return tensors

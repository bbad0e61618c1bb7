"""A model of Hugging Face's becomes one of ours."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from seqmem.convert import folder
from seqmem.convert.architecture import Architecture
from seqmem.convert.pairs import Pair, missing
from seqmem.convert.table import of_model_type
from seqmem.convert.target import new_folder
from seqmem.errors import SeqmemError
from seqmem.models import CausalModel, Encoder
from seqmem.ops import bind
from seqmem.schema import validated
from seqmem.train.checkpoint import write_model

SEED = 0


def import_hf(path: Path, out: Path) -> list[str]:
    """Write the model of a Hugging Face folder to ``out``, in float32, and return what its user should know.

    :func:`seqmem.load`, or :func:`seqmem.load_encoder`, reads ``out``. Where there is no language model's head, it is
    as in a new model.

    Raises:
        SeqmemError: a folder without config.json and safetensors, an architecture or option that seqmem lacks, tensors
            that are missing, too many or of a wrong shape, or an ``out`` that exists.
    """
    theirs = folder.read_config(path)
    architecture = of_model_type(theirs.get("model_type"))
    config = validated(
        architecture.registry.model_class(architecture.name).Config,
        architecture.our_config(theirs),
        str(path / folder.CONFIG),
    )
    tensors = _named_as_with_head(folder.read_tensors(path), architecture.body)
    pairs = list(architecture.pairs(config, theirs))
    with torch.device("meta"):
        outline = architecture.registry.build(config, bind("pytorch"))
    absent = _absent(pairs, outline, tensors, str(path), architecture.body)
    left_out = _left_out(pairs, tensors, str(path), architecture)
    model = _new(architecture, config)
    _fill(model, [pair for pair in pairs if not absent.intersection(pair.theirs)], tensors)
    with new_folder(out) as partial:
        write_model(partial, architecture.name, model, hugging_face=theirs)
        folder.copy_tokenizer(path, partial / folder.KEPT_TOKENIZER)
    notes = list(architecture.import_notes(config, theirs))
    if absent:
        notes.append(f"'{path}' has no language model's head; here it is as in a new model, from seed {SEED}")
    if left_out:
        notes.append(f"left out, because the model here has no place for them: {', '.join(left_out)}")
    return notes


def _named_as_with_head(tensors: dict[str, Tensor], body: str) -> dict[str, Tensor]:
    """Tensors under the names they have in a model with a head; a bare body's lack the prefix."""
    if any(name.startswith(body) for name in tensors):
        return tensors
    return {body + name: tensor for name, tensor in tensors.items()}


def _absent(pairs: Sequence[Pair], model: nn.Module, tensors: Mapping[str, Tensor], where: str, body: str) -> set[str]:
    """Names of the language model's head, if there is none.

    Raises:
        SeqmemError: other tensors are missing, or some of the head's, or some do not fit.
    """
    parameters = dict(model.named_parameters())
    absent = {name for pair in pairs for name in missing(pair, parameters[pair.ours], tensors, where)}
    head = {name for pair in pairs for name in pair.theirs if not name.startswith(body)}
    if absent and absent != head:
        raise SeqmemError(f"{where} lacks the tensor {min(absent)}; download the whole folder, with all shards")
    return absent


def _left_out(
    pairs: Sequence[Pair], tensors: Mapping[str, Tensor], where: str, architecture: Architecture
) -> list[str]:
    """Tensors for which there is no place: of other heads.

    Raises:
        SeqmemError: one of the body that there should be a place for.
    """
    used = {name for pair in pairs for name in (*pair.theirs, *pair.ties)}
    rest = [name for name in sorted(tensors) if name not in used and not architecture.derived.fullmatch(name)]
    for name in rest:
        if name.startswith(architecture.body) and not architecture.unused.fullmatch(name):
            raise SeqmemError(
                f"{where} holds {name}, which a {architecture.model_type} of its config.json does not have; "
                "give the config.json that belongs to these weights"
            )
    return rest


def _new(architecture: Architecture, config: Any) -> CausalModel | Encoder:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        return architecture.registry.build(config, bind("pytorch"))


@torch.no_grad()
def _fill(model: nn.Module, pairs: Sequence[Pair], tensors: Mapping[str, Tensor]) -> None:
    parameters = dict(model.named_parameters())
    for pair in pairs:
        parameters[pair.ours].copy_(pair.joined(tensors))

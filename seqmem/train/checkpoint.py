"""Checkpoints: folders ``checkpoints/step-NNNNNNNN`` of a run that hold all it takes to use or go on with the model.

``model.safetensors`` weights, a tied one once; ``config.json`` format, model and recipe; ``tokenizer/`` or ``codec/``;
``trainer.safetensors`` and ``trainer.json`` what training needs besides (see :mod:`seqmem.train.session`).
"""

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError
from safetensors.torch import load_model, save_model

from seqmem.config import Recipe, validated
from seqmem.data.atomic import PARTIAL, atomic_folder
from seqmem.data.codec import Codec
from seqmem.data.text_vocabulary import TextVocabulary
from seqmem.data.tokenizers import saved_tokenizer
from seqmem.data.vocabulary import Vocabulary
from seqmem.errors import SeqmemError
from seqmem.models.base import CausalModel
from seqmem.models.model import Model
from seqmem.ops import Ops, bind
from seqmem.train.objective import objective_of

if TYPE_CHECKING:
    from seqmem.train.session import Session

FORMAT = 1


def save_checkpoint(run_dir: Path, recipe: Recipe, vocabulary: Vocabulary, session: "Session[Any]") -> Path:
    """Write the checkpoint of the session's step, whole or not at all, and delete all but the newest few."""
    path = run_dir / "checkpoints" / f"step-{session.counters.step:08d}"
    config = {
        "format": FORMAT,
        "model": {"name": recipe.model["name"], **session.model.config.model_dump(mode="json")},
        "recipe": recipe.model_dump(mode="json"),
    }
    with atomic_folder(path) as partial:
        save_model(session.model, str(partial / "model.safetensors"))
        (partial / "config.json").write_text(json.dumps(config, indent=2))
        vocabulary.save(partial / vocabulary_folder(recipe))
        session.save(partial)
    _prune(path.parent, recipe.train.keep_checkpoints)
    return path


def load(path: Path | str, ops: Ops | None = None) -> CausalModel:
    """The trained causal model of a run (its newest checkpoint) or of a checkpoint, in eval mode on the CPU.

    Args:
        path: a run or checkpoint folder.
        ops: the operations to compute with; by default those of ``bind("auto")``.

    Raises:
        SeqmemError: no checkpoint there, one of another format or of an encoder, or one that is damaged.
    """
    model = load_trained(path, ops)
    if not isinstance(model, CausalModel):
        raise SeqmemError(
            f"run '{path}' trained an encoder, which reads whole texts, carries no memory and writes nothing; "
            f"use seqmem eval {path}"
        )
    return model


def load_trained(path: Path | str, ops: Ops | None = None) -> Model:
    """As :func:`load`, whatever the run's objective is."""
    checkpoint = find_checkpoint(path)
    objective = objective_of(load_recipe_of(checkpoint))
    config = objective.models.config(**_read_config(checkpoint)["model"])
    model = objective.build(config, ops or bind("auto"))
    load_weights(model, checkpoint)
    return model.eval()


def load_weights(model: Model, checkpoint: Path) -> None:
    """Fill ``model`` with the weights of a checkpoint folder."""
    file = checkpoint / "model.safetensors"
    try:
        load_model(model, file)
    except (OSError, SafetensorError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise SeqmemError(f"{file} cannot be read ({reason}); use another checkpoint of the run") from None


def load_tokenizer(path: Path | str) -> TextVocabulary:
    """The tokenizer of a run or checkpoint folder."""
    return saved_tokenizer(find_checkpoint(path) / "tokenizer")


def load_codec(path: Path | str) -> Codec:
    """The codec of a run or checkpoint folder."""
    return Codec.load(find_checkpoint(path) / "codec")


def load_vocabulary(path: Path | str) -> Vocabulary:
    """The tokenizer or the codec of a run or checkpoint folder, whichever its recipe has."""
    return load_codec(path) if load_recipe_of(path).codec else load_tokenizer(path)


def vocabulary_folder(recipe: Recipe) -> str:
    """Name of the folder that a checkpoint of the recipe has for it."""
    return "codec" if recipe.codec else "tokenizer"


def load_recipe_of(path: Path | str) -> Recipe:
    """The recipe that a run or checkpoint folder was trained by."""
    checkpoint = find_checkpoint(path)
    return validated(Recipe, _read_config(checkpoint)["recipe"], str(checkpoint / "config.json"))


def newest_checkpoint(run_dir: Path) -> Path | None:
    """The checkpoint of the highest step in a run folder, if there is any."""
    return max((run_dir / "checkpoints").glob("step-*"), default=None)


def find_checkpoint(path: Path | str) -> Path:
    """The checkpoint folder that ``path`` means: itself, or the newest of a run folder."""
    path = Path(path)
    if (path / "model.safetensors").is_file():
        return path
    if checkpoint := newest_checkpoint(path):
        return checkpoint
    reason = "holds no checkpoint" if path.is_dir() else "does not exist"
    raise SeqmemError(f"run '{path}' {reason}; name a run folder (runs/RECIPE/TIME) or one of its checkpoints")


def run_folder(path: Path | str) -> Path:
    """The run folder that a run or checkpoint folder belongs to."""
    checkpoint = find_checkpoint(path).absolute()
    return checkpoint.parent.parent if checkpoint.parent.name == "checkpoints" else checkpoint


def _read_config(checkpoint: Path) -> dict[str, Any]:
    file = checkpoint / "config.json"
    try:
        config = json.loads(file.read_text())
        found = config["format"]
    except (OSError, ValueError, TypeError, KeyError):
        raise SeqmemError(f"{file} is not a seqmem checkpoint's; use another checkpoint of the run") from None
    if found != FORMAT:
        raise SeqmemError(f"{file} has format {found}, this version reads {FORMAT}; use the seqmem that wrote it")
    return config


def _prune(folder: Path, keep: int) -> None:
    for outdated in [*sorted(folder.glob("step-*"))[:-keep], *folder.glob(f".*{PARTIAL}")]:
        shutil.rmtree(outdated)

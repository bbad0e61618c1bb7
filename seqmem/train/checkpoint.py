"""Checkpoints: folders ``checkpoints/step-NNNNNNNN`` of a run that hold all it takes to use or go on with the model.

``model.safetensors`` weights, a tied one once; ``config.json`` format, model and recipe; ``tokenizer/`` or ``codec/``;
``trainer.safetensors`` and ``trainer.json`` what training needs besides (see :mod:`seqmem.train.session`). The folder
of an imported model (:mod:`seqmem.convert.import_hf`) has the first two, and ``config.json`` no recipe.
"""

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from safetensors import SafetensorError
from safetensors.torch import load_model, save_model

from seqmem.config import Recipe
from seqmem.data.atomic import PARTIAL, atomic_folder
from seqmem.data.codec import Codec
from seqmem.data.text_vocabulary import TextVocabulary
from seqmem.data.tokenizers import saved_tokenizer
from seqmem.data.tokens import Tokens, read_tokens, saved_tokens
from seqmem.data.vocabulary import Vocabulary
from seqmem.errors import SeqmemError
from seqmem.models import ENCODERS, MODELS, CausalModel, Encoder
from seqmem.models.model import Model
from seqmem.models.registry import Registry
from seqmem.ops import Ops, bind
from seqmem.schema import validated
from seqmem.train.objective import Objective, objective_of

if TYPE_CHECKING:
    from seqmem.train.session import Session

FORMAT = 1
M = TypeVar("M", bound=Model)


def save_checkpoint(run_dir: Path, recipe: Recipe, vocabulary: Vocabulary, session: "Session[Any]") -> Path:
    """Write the checkpoint of the session's step, whole or not at all, and delete all but the newest few."""
    path = run_dir / "checkpoints" / f"step-{session.counters.step:08d}"
    with atomic_folder(path) as partial:
        write_model(partial, recipe.model["name"], session.model, recipe=recipe.model_dump(mode="json"))
        vocabulary.save(partial / vocabulary_folder(recipe))
        session.save(partial)
    _prune(path.parent, recipe.train.keep_checkpoints)
    return path


def write_model(folder: Path, name: str, model: Model, **about: Any) -> None:
    """Write a model's weights and configuration into a folder, with JSON values that tell more ``about`` it."""
    config = {"format": FORMAT, "model": {"name": name, **model.config.model_dump(mode="json")}, **about}
    save_model(model, str(folder / "model.safetensors"))
    (folder / "config.json").write_text(json.dumps(config, indent=2))


def load(path: Path | str, ops: Ops | None = None) -> CausalModel:
    """The trained causal model of a run (its newest checkpoint) or of a checkpoint, in eval mode on the CPU.

    Args:
        path: a run, checkpoint or imported folder.
        ops: the operations to compute with; by default those of ``bind("auto")``.

    Raises:
        SeqmemError: no checkpoint there, one of another format or of an encoder, or one that is damaged.
    """
    config = read_config(find_checkpoint(path))
    if "recipe" in config and config["model"]["name"] in ENCODERS:
        raise SeqmemError(
            f"run '{path}' trained an encoder, which reads whole texts, carries no memory and writes nothing; "
            f"use seqmem eval {path}"
        )
    return load_from(MODELS, path, ops)


def load_encoder(path: Path | str, ops: Ops | None = None) -> Encoder:
    """The encoder of a folder; otherwise as :func:`load`."""
    return load_from(ENCODERS, path, ops)


def load_trained(path: Path | str, ops: Ops | None = None) -> Model:
    """What a run trained, whatever its objective is; otherwise as :func:`load`."""
    return load_from(objective_of(load_recipe_of(path)), path, ops)


def load_from(builder: Registry[M] | Objective[M], path: Path | str, ops: Ops | None = None) -> M:
    """The model of a folder, of a kind that ``builder`` builds; otherwise as :func:`load`."""
    checkpoint = find_checkpoint(path)
    models = builder.models if isinstance(builder, Objective) else builder
    model = builder.build(models.config(**read_config(checkpoint)["model"]), ops or bind("auto"))
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


def load_tokens(path: Path | str) -> Tokens:
    """What a run trains on and is measured on: kept in its folder, else read again from its data."""
    recipe, vocabulary, folder = load_recipe_of(path), load_vocabulary(path), run_folder(path) / "tokens"
    if folder.is_dir():
        return saved_tokens(folder, vocabulary, recipe.data)
    return read_tokens(recipe.data, vocabulary)


def vocabulary_folder(recipe: Recipe) -> str:
    """Name of the folder that a checkpoint of the recipe has for it."""
    return "codec" if recipe.codec else "tokenizer"


def load_recipe_of(path: Path | str) -> Recipe:
    """The recipe that a run or checkpoint folder was trained by."""
    checkpoint = find_checkpoint(path)
    file = checkpoint / "config.json"
    config = read_config(checkpoint)
    if "recipe" not in config:
        raise SeqmemError(f"{file} has no recipe, because its model was imported; name a run that was trained here")
    return validated(Recipe, config["recipe"], str(file))


def newest_checkpoint(run_dir: Path) -> Path | None:
    """The checkpoint of the highest step in a run folder, if there is any."""
    return max((run_dir / "checkpoints").glob("step-*"), default=None)


def step_of(checkpoint: Path) -> int:
    """Steps taken when a checkpoint folder of a run was written."""
    return int(checkpoint.name.removeprefix("step-"))


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


def read_config(checkpoint: Path) -> dict[str, Any]:
    """What a checkpoint folder's ``config.json`` says."""
    file = checkpoint / "config.json"
    try:
        config = json.loads(file.read_text())
        found = config["format"]
    except (OSError, ValueError, TypeError, KeyError):
        raise SeqmemError(
            f"{file} is not a seqmem checkpoint's; use another checkpoint of the run, or seqmem import-hf"
        ) from None
    if found != FORMAT:
        raise SeqmemError(f"{file} has format {found}, this version reads {FORMAT}; use the seqmem that wrote it")
    return config


def _prune(folder: Path, keep: int) -> None:
    for outdated in [*sorted(folder.glob("step-*"))[:-keep], *folder.glob(f".*{PARTIAL}")]:
        shutil.rmtree(outdated)

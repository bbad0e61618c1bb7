"""Folders of Hugging Face's ``save_pretrained``: a configuration, weights as safetensors, the files of a tokenizer."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from seqmem.errors import SeqmemError

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
KEPT_TOKENIZER = "hf_tokenizer"
"""Where a model of ours keeps the files of their tokenizer."""
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "vocab.txt",
    "spiece.model",
    "sentencepiece.bpe.model",
    "tokenizer.model",
)


def read_config(folder: Path) -> dict[str, Any]:
    """What ``config.json`` says."""
    if not folder.is_dir():
        raise SeqmemError(
            f"'{folder}' is no folder; give one that save_pretrained wrote, or a model's downloaded files"
        )
    return _read_object(folder / CONFIG, "give a folder that save_pretrained wrote")


def read_tensors(folder: Path) -> dict[str, Tensor]:
    """All tensors by name, of one file or of shards.

    Raises:
        SeqmemError: no safetensors, or damaged or missing ones. Pickled weights are never opened.
    """
    if (folder / WEIGHTS).is_file():
        return _load(folder / WEIGHTS)
    if not (folder / INDEX).is_file():
        raise SeqmemError(_no_weights(folder))
    places = _read_object(folder / INDEX, "download the folder again").get("weight_map")
    if not isinstance(places, dict) or not all(_is_file_name(name) for name in places.values()):
        raise SeqmemError(f"{folder / INDEX} has no weight_map of names to files beside it; download the folder again")
    tensors: dict[str, Tensor] = {}
    for name in sorted(set(places.values())):
        tensors |= _load(folder / name)
    if missing := sorted(set(places) - set(tensors)):
        raise SeqmemError(f"{folder / INDEX} lists {missing[0]}, which no shard holds; download the folder again")
    return tensors


def write(folder: Path, config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    """Write a configuration and weights, in one file."""
    (folder / CONFIG).write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, folder / WEIGHTS, {"format": "pt"})


def copy_tokenizer(source: Path, target: Path) -> None:
    """Copy the files of a tokenizer, as they are; no folder is made for none."""
    for file in (source / name for name in TOKENIZER_FILES):
        if file.is_file():
            target.mkdir(exist_ok=True)
            shutil.copyfile(file, target / file.name)


def _load(file: Path) -> dict[str, Tensor]:
    try:
        return load_file(file)
    except (OSError, SafetensorError) as error:
        reason = str(error).splitlines()[0]
        raise SeqmemError(f"{file} cannot be read ({reason}); download it again") from None


def _read_object(file: Path, fix: str) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except OSError:
        raise SeqmemError(f"{file} cannot be read; {fix}") from None
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise SeqmemError(f"{file} is no JSON object; {fix}")
    return content


def _is_file_name(name: Any) -> bool:
    return isinstance(name, str) and Path(name).name == name


def _no_weights(folder: Path) -> str:
    if not any(folder.glob("pytorch_model*.bin")):
        return f"'{folder}' holds no {WEIGHTS}; give a folder that save_pretrained wrote"
    named = read_config(folder).get("architectures")
    cls = named[0] if isinstance(named, list) and named and str(named[0]).isidentifier() else "AutoModel"
    return (
        f"'{folder}' has its weights in pytorch_model.bin, a pickle, which can run any code and is never opened; "
        f'where you trust it, convert it: python -c "from transformers import {cls} as M; '
        f"M.from_pretrained('{folder}').save_pretrained('{folder}', safe_serialization=True)\""
    )

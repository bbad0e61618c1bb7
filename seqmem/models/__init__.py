"""The table of models: one file per published model, its configuration and its named sizes."""

from importlib import import_module
from typing import Any

from seqmem.config import validated
from seqmem.errors import SeqmemError, nearest
from seqmem.models.base import CausalModel, ModelConfig
from seqmem.ops import Ops

MODELS = {
    "transformer-xl": "seqmem.models.transformer_xl:TransformerXL",
    "compressive": "seqmem.models.compressive:CompressiveTransformer",
    "sha-rnn": "seqmem.models.sha_rnn:SHARNN",
    "longformer-lm": "seqmem.models.longformer_lm:LongformerLM",
    "sparse-transformer": "seqmem.models.sparse_transformer:SparseTransformer",
    "bigbird-lm": "seqmem.models.bigbird_lm:BigBirdLM",
    "adaptive-span": "seqmem.models.adaptive_span:AdaptiveSpan",
    "light-conv": "seqmem.models.light_conv:LightConv",
    "wavenet": "seqmem.models.wavenet:WaveNet",
    "transformer": "seqmem.models.transformer:Transformer",
    "lstm": "seqmem.models.lstm:LSTM",
}


def model_class(name: str) -> type[CausalModel]:
    """The class of a model by its name in :data:`MODELS`."""
    if name not in MODELS:
        raise SeqmemError(f"unknown model '{name}'{nearest(name, MODELS)}")
    module, _, attribute = MODELS[name].partition(":")
    return getattr(import_module(module), attribute)


def model_config(name: str, **overrides: Any) -> ModelConfig:
    """Configuration of ``"model"`` or ``"model/size"`` with keys overridden."""
    model, _, size = name.partition("/")
    cls = model_class(model)
    if size and size not in cls.SIZES:
        raise SeqmemError(f"unknown size '{size}' of model '{model}'{nearest(size, cls.SIZES)}")
    return validated(cls.Config, (cls.SIZES[size] if size else {}) | overrides, f"model {model}")


def build_model(config: ModelConfig | str, ops: Ops, **overrides: Any) -> CausalModel:
    """Build a model bound to backends.

    Args:
        config: a model's configuration, or ``"transformer-xl/small"`` with overrides as keywords.
        ops: the operations, from :func:`seqmem.ops.bind`.
    """
    if isinstance(config, str):
        config = model_config(config, **overrides)
    elif overrides:
        config = type(config).model_validate(config.model_dump() | overrides)
    return _class_of(config)(config, ops)


def _class_of(config: ModelConfig) -> type[CausalModel]:
    for name in MODELS:
        cls = model_class(name)
        if cls.Config is type(config):
            return cls
    raise SeqmemError(f"no model takes a {type(config).__name__}; known: {', '.join(MODELS)}")

"""The sections of a recipe, and a whole one."""

from seqmem.config.data import BYTE_VOCAB_SIZE, CodecConfig, DataConfig, Location, TokenizerConfig, is_url
from seqmem.config.objectives import MaskingConfig, RecallConfig, TaskConfig
from seqmem.config.recipe import EvalConfig, GenerateConfig, Recipe
from seqmem.config.training import AtDocumentEnd, BMIConfig, StageConfig, TrainConfig

__all__ = [
    "BYTE_VOCAB_SIZE",
    "AtDocumentEnd",
    "BMIConfig",
    "CodecConfig",
    "DataConfig",
    "EvalConfig",
    "GenerateConfig",
    "Location",
    "MaskingConfig",
    "RecallConfig",
    "Recipe",
    "StageConfig",
    "TaskConfig",
    "TokenizerConfig",
    "TrainConfig",
    "is_url",
]

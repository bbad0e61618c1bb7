"""The tables of models: one file per published model, its configuration and its named sizes."""

from seqmem.models.base import CausalModel, ModelConfig
from seqmem.models.encoder import Encoder
from seqmem.models.registry import Registry

_CAUSAL = {
    "transformer-xl": "seqmem.models.transformer_xl:TransformerXL",
    "compressive": "seqmem.models.compressive:CompressiveTransformer",
    "sha-rnn": "seqmem.models.sha_rnn:SHARNN",
    "longformer-lm": "seqmem.models.longformer_lm:LongformerLM",
    "sparse-transformer": "seqmem.models.sparse_transformer:SparseTransformer",
    "bigbird-lm": "seqmem.models.bigbird_lm:BigBirdLM",
    "adaptive-span": "seqmem.models.adaptive_span:AdaptiveSpan",
    "light-conv": "seqmem.models.light_conv:LightConv",
    "linear-transformer": "seqmem.models.linear_transformer:LinearTransformer",
    "performer": "seqmem.models.linear_transformer:Performer",
    "reformer": "seqmem.models.reformer:Reformer",
    "feedback": "seqmem.models.feedback:Feedback",
    "titans-lmm": "seqmem.models.titans:LongTermMemory",
    "titans-mac": "seqmem.models.titans:MemoryAsContext",
    "titans-mag": "seqmem.models.titans:MemoryAsGate",
    "titans-mal": "seqmem.models.titans:MemoryAsLayer",
    "wavenet": "seqmem.models.wavenet:WaveNet",
    "transformer": "seqmem.models.transformer:Transformer",
    "lstm": "seqmem.models.lstm:LSTM",
}
_BIDIRECTIONAL = {
    "longformer": "seqmem.models.longformer:Longformer",
    "bigbird": "seqmem.models.bigbird:BigBird",
    "linformer": "seqmem.models.linformer:Linformer",
}

MODELS: Registry[CausalModel] = Registry(
    "model",
    _CAUSAL,
    dict.fromkeys(_BIDIRECTIONAL, "an encoder reads whole texts; it trains in a recipe with a [masking] or [task]"),
)
"""Causal models."""
ENCODERS: Registry[Encoder] = Registry(
    "encoder", _BIDIRECTIONAL, dict.fromkeys(_CAUSAL, "a causal model; give it a recipe without [masking] and [task]")
)
"""Models of whole texts."""

model_class, model_config, build_model = MODELS.model_class, MODELS.config, MODELS.build
encoder_config, build_encoder = ENCODERS.config, ENCODERS.build

__all__ = [
    "ENCODERS",
    "MODELS",
    "CausalModel",
    "Encoder",
    "ModelConfig",
    "build_encoder",
    "build_model",
    "encoder_config",
    "model_class",
    "model_config",
]

"""Folders that transformers writes, imported, exported and read by transformers again: logits in float32.

Weights have std 0.2, norms and biases are not trivial. Encoders' texts are padded and of odd lengths, Longformer's have
global tokens that differ from row to row; Transformer-XL's go on over several segments. There is a folder for every
kind of head; where it is a language model's, logits are compared, otherwise hidden states.
"""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
import transformers
from twins import randomised

from seqmem.convert.export_hf import export_hf
from seqmem.convert.import_hf import import_hf
from seqmem.ops import bind
from seqmem.train.checkpoint import load, load_encoder

TOLERANCE = 1e-4
PADDING = 1
SHAPE = dict(
    vocab_size=70, hidden_size=24, num_hidden_layers=3, num_attention_heads=3, intermediate_size=40, layer_norm_eps=1e-5
)
LONGFORMER = SHAPE | dict(
    max_position_embeddings=92, type_vocab_size=2, attention_window=[8, 4, 16], pad_token_id=PADDING
)
BIGBIRD = SHAPE | dict(max_position_embeddings=90, block_size=4, num_random_blocks=2)
TRANSFORMER_XL = dict(
    vocab_size=60,
    d_model=24,
    d_embed=24,
    n_head=3,
    d_head=8,
    d_inner=40,
    n_layer=3,
    mem_len=12,
    dropout=0.0,
    dropatt=0.0,
)
SEGMENT_LEN = 6
VOCABULARIES = [
    dict(cutoffs=[], div_val=1, untie_r=False, clamp_len=-1, same_length=False),
    dict(cutoffs=[10, 30], div_val=1, clamp_len=8),
    dict(cutoffs=[10, 30], div_val=1, d_embed=16, clamp_len=8),
    dict(cutoffs=[10, 30], div_val=2, untie_r=False),
    dict(cutoffs=[10, 30, 45], div_val=2, d_embed=32, proj_share_all_but_first=False),
    dict(cutoffs=[10, 30], div_val=2, tie_projs=[True, False, True]),
    dict(cutoffs=[], div_val=2, d_embed=16),
]


def encoder_difference(theirs: Any, folder: Path) -> float:
    """Largest difference in hidden states of tokens, and in logits where there are any."""
    ours = load_encoder(folder, bind("pytorch"))
    worst = 0.0
    for length in (11, 29, 64, 77):
        ids = torch.randint(2, 70, (3, length))
        valid = torch.arange(length) < torch.tensor([[length], [length - 4], [length // 2]])
        ids = ids.where(valid, theirs.config.pad_token_id)
        types = torch.randint(0, 2, (3, length))
        arguments = dict(attention_mask=valid.long(), token_type_ids=types)
        mask = None
        if theirs.config.model_type == "longformer":
            mask = torch.zeros(3, length, dtype=torch.bool)
            for row, places in enumerate(([1, 5, 8], [0, 3], [2, 4])):
                mask[row, places] = True
            arguments["global_attention_mask"] = mask.long()
        else:
            # After a short text the peer would attend to everything for good.
            theirs.base_model.set_attention_type("block_sparse")
        hidden = ours(ids, valid, mask, types)
        found = theirs.base_model(ids, **arguments).last_hidden_state[:, :length]
        worst = max(worst, (hidden - found)[valid].abs().max().item())
        if hasattr(theirs, "lm_head") or hasattr(theirs, "cls"):
            out = theirs(ids, **arguments)
            logits = out.logits if "logits" in out else out.prediction_logits
            worst = max(worst, (ours.head.logits(hidden) - logits[:, :length])[valid].abs().max().item())
    return worst


def transformer_xl_difference(theirs: Any, folder: Path) -> float:
    """Largest difference in hidden states, memories, and log-probabilities where there are any."""
    ours = load(folder, bind("pytorch")).with_lengths(segment_len=SEGMENT_LEN)
    ids = torch.randint(0, 60, (2, 5 * SEGMENT_LEN))
    state, mems, worst = ours.init_state(2), None, 0.0
    for segment in ids.split(SEGMENT_LEN, 1):
        out = ours(segment, state)
        body = theirs.base_model(segment, mems=mems)
        pairs = [(out.hidden, body.last_hidden_state)]
        pairs += [(our, their.transpose(0, 1)) for our, their in zip(out.state.past, body.mems, strict=True)]
        if hasattr(theirs, "crit"):
            scores = theirs(segment, mems=mems).prediction_scores
            pairs.append((ours.head.logits(out.hidden).log_softmax(-1), scores))
            nll = ours.head.nll(out.hidden[:, :-1], segment[:, 1:])
            pairs.append((nll, -scores[:, :-1].gather(-1, segment[:, 1:, None])[..., 0]))
        worst = max(worst, *((our - their).abs().max().item() for our, their in pairs))
        state, mems = out.state, body.mems
    return worst


Difference = Callable[[Any, Path], float]


def models() -> Iterator[tuple[str, Any, str, Difference]]:
    """A name, a model of theirs, its class with a language model's head, and how to compare."""
    heads = ("Model", "ForMaskedLM", "ForSequenceClassification", "ForQuestionAnswering", "ForTokenClassification")
    for config in (transformers.LongformerConfig(**LONGFORMER), transformers.BigBirdConfig(**BIGBIRD)):
        kind = type(config).__name__.removesuffix("Config")
        for head in (*heads, *(["ForPreTraining"] if kind == "BigBird" else [])):
            model = getattr(transformers, f"{kind}{head}")(config)
            yield f"{kind}{head}", randomised(model), f"{kind}ForMaskedLM", encoder_difference
    for vocabulary in VOCABULARIES:
        for head in ("Model", "LMHeadModel", "ForSequenceClassification"):
            if head != "LMHeadModel" and vocabulary is not VOCABULARIES[4]:
                continue
            config = transformers.TransfoXLConfig(**(TRANSFORMER_XL | vocabulary))
            model = randomised(getattr(transformers, f"TransfoXL{head}")(config))
            yield f"TransfoXL{head} {vocabulary}", model, "TransfoXLLMHeadModel", transformer_xl_difference


@torch.no_grad()
def compare(theirs: Any, lm_class: str, difference: Difference) -> tuple[float, float]:
    """Differences after import, and between the import and what transformers reads of the export."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        theirs.save_pretrained(folder / "theirs", safe_serialization=True, max_shard_size="20KB")
        for note in import_hf(folder / "theirs", folder / "ours"):
            print(f"          {note.replace(place, '')}")
        imported = difference(theirs, folder / "ours")
        for note in export_hf(folder / "ours", folder / "back"):
            print(f"          {note}")
        back, report = getattr(transformers, lm_class).from_pretrained(folder / "back", output_loading_info=True)
        assert not report["unexpected_keys"], report
        return imported, difference(back.eval(), folder / "ours")


def main() -> None:
    transformers.logging.set_verbosity_error()
    worst = 0.0
    for name, theirs, lm_class, difference in models():
        imported, exported = compare(theirs, lm_class, difference)
        print(f"{imported:.2e}  {exported:.2e}  {name}", flush=True)
        worst = max(worst, imported, exported)
    if worst > TOLERANCE:
        raise SystemExit(f"differs from Hugging Face's models by more than {TOLERANCE}")


main()

"""The evaluation protocol: every token of a split once, in order, memory carried from its beginning to its end.

Memory use does not depend on the length of the split, whose tokens may be a mapped file.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch

from seqmem.config import DataConfig, EvalConfig, RecallConfig
from seqmem.data.audio_tokens import AudioCorpus
from seqmem.data.codec import Codec
from seqmem.data.stream import evaluation_segments, overlapping_windows
from seqmem.data.text_size import text_size
from seqmem.data.text_vocabulary import TextVocabulary
from seqmem.data.tokens import read_tokens
from seqmem.data.vocabulary import TokenArray, Vocabulary
from seqmem.errors import SeqmemError
from seqmem.models.base import CausalModel
from seqmem.ops import bind
from seqmem.schema import validated
from seqmem.train.checkpoint import load_recipe_of, load_tokens, load_trained, load_vocabulary, run_folder
from seqmem.train.device import default_device
from seqmem.train.evaluation import AudioEvaluation, Evaluation, Measurement, TextEvaluation
from seqmem.train.objective import objective_of

C = TypeVar("C", bound=CausalModel)

LENGTHS = ("segment_len", "mem_len", "cmem_len")  # in tokens and slots; they change no weight


@torch.no_grad()
def evaluate(
    model: CausalModel,
    tokens: TokenArray,
    vocabulary: Vocabulary,
    *,
    starts: np.ndarray | None = None,
    batch_size: int = 1,
    windows: tuple[int, int] | None = None,
    text: str = "",
) -> Evaluation:
    """Measure ``model`` on documents laid end to end; the result is of the vocabulary's kind.

    Args:
        model: in any mode; measured in eval mode, and put back.
        tokens: ``[N]`` ids, every document begun by the vocabulary's ``bos_ids``.
        vocabulary: gave the ids.
        starts: places of these, where their ids stand for something else as well.
        batch_size: number of contiguous streams; more are faster, but each starts without context.
        windows: context and stride of windows that overlap, ``batch_size`` of them at a time, each begun without memory
            and scored where it is new; instead of streams.
        text: what ``tokens`` are, for the report.

    Raises:
        SeqmemError: there is nothing to score.
    """
    size = _size(tokens, vocabulary, starts, text)
    device = next(model.parameters()).device
    was_training = model.training
    model.eval()
    state = model.init_state(batch_size)
    total_nats, num_tokens = 0.0, 0
    bos_id = vocabulary.bos_ids[0]
    if windows is None:
        segments = evaluation_segments(tokens, batch_size, model.config.segment_len, bos_id, starts)
    else:
        segments = overlapping_windows(tokens, batch_size, *windows, bos_id, starts)
    try:
        for inputs, targets, scored in segments:
            out = model(inputs.to(device), state if windows is None else None)
            nll = model.head.nll(out.hidden[scored.to(device)], targets[scored].to(device))
            total_nats += nll.double().sum().item()
            num_tokens += int(scored.sum())
            state = out.state
    finally:
        model.train(was_training)
    kind = AudioEvaluation if isinstance(vocabulary, Codec) else TextEvaluation
    return kind(
        text=text,
        total_nats=total_nats,
        num_tokens=num_tokens,
        lengths=model.config.model_dump(mode="json", include=set(LENGTHS)),
        memory=model.config.memory_note,
        num_streams=batch_size,
        windows=windows,
        **size,
    )


def _size(tokens: TokenArray, vocabulary: Vocabulary, starts: np.ndarray | None, text: str) -> dict[str, Any]:
    """What :class:`TextEvaluation` or :class:`AudioEvaluation` says besides the likelihood."""
    if isinstance(vocabulary, Codec):
        num_samples = (len(tokens) - (0 if starts is None else len(starts))) // vocabulary.tokens_a_sample
        if not num_samples:
            raise SeqmemError(f"evaluation sound '{text}' is empty; give another split or folder")
        return {"num_samples": num_samples, "codec": vocabulary.config.model_dump()}
    assert isinstance(vocabulary, TextVocabulary)
    num_bytes, num_words = text_size(tokens, vocabulary)
    if not num_words:
        raise SeqmemError(f"evaluation text '{text}' has no words; give another split or folder")
    return {"num_bytes": num_bytes, "num_words": num_words, "tokenizer_hash": vocabulary.hash}


def at_eval_lengths(model: C, config: EvalConfig) -> C:
    """The model, or its twin under the lengths that ``config`` gives."""
    lengths = config.model_dump(include=set(LENGTHS), exclude_none=True)
    if not lengths:
        return model
    if foreign := lengths.keys() - type(model.config).model_fields.keys():
        raise SeqmemError(f"eval.{min(foreign)}: this model has no {min(foreign)}; leave it out")
    return model.with_lengths(**lengths)


def evaluate_run(
    path: Path,
    split: str = "validation",
    *,
    data: str | Path | None = None,
    segment_len: int | None = None,
    mem_len: int | tuple[int, ...] | None = None,
    cmem_len: int | tuple[int, ...] | None = None,
    windows: tuple[int, int] | None = None,
    lengths: tuple[int, ...] | None = None,
    samples: int | None = None,
    backend: str | None = None,
) -> Measurement:
    """Measure a run or checkpoint and write the result into the run folder, to the measurement's ``file``.

    Args:
        path: a run or checkpoint folder.
        split: ``"validation"`` or ``"test"``, of the run's own text or of ``data``.
        data: a folder of .txt files, a file, or sounds, instead.
        segment_len, mem_len, cmem_len, backend: instead of the recipe's; memory in slots, or one number a layer.
        windows: see :func:`evaluate`.
        lengths, samples: of recall, instead of the recipe's ``eval_lengths`` and ``samples``.
    """
    recipe = load_recipe_of(path)
    asked = {"eval_lengths": lengths, "samples": samples}
    if asked := {key: value for key, value in asked.items() if value is not None}:
        if not recipe.recall:
            raise SeqmemError(f"run '{path}' is not of recall, which alone has lengths and samples; leave them out")
        changed = validated(RecallConfig, recipe.recall.model_dump() | asked, "recall")
        recipe = recipe.model_copy(update={"recall": changed})
    given = {"segment_len": segment_len, "mem_len": mem_len, "cmem_len": cmem_len}
    config = recipe.eval.model_copy(update={key: value for key, value in given.items() if value is not None})
    vocabulary = load_vocabulary(path)
    run_dir = run_folder(path)
    corpus = load_tokens(path) if data is None else read_tokens(DataConfig.model_validate({"path": data}), vocabulary)
    text = f"{split} split of {corpus.note}"
    model = load_trained(path, bind(backend or recipe.backend)).to(default_device())
    evaluation = objective_of(recipe).evaluate(model, corpus, vocabulary, split, config, text, windows)
    if isinstance(corpus, AudioCorpus) and isinstance(evaluation, AudioEvaluation):
        evaluation = replace(evaluation, baselines=corpus.baselines(split))
    (run_dir / evaluation.file).write_text(json.dumps(evaluation.to_json(), indent=2) + "\n")
    return evaluation

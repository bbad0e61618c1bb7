"""The evaluation protocol: every token of every document once, memory carried from document to document or emptied.

Memory use does not depend on the length of the split, whose tokens may be a mapped file.
"""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from seqmem.config import AtDocumentEnd, DataConfig, EvalConfig, RecallConfig
from seqmem.data.audio_tokens import AudioCorpus
from seqmem.data.codec import Codec
from seqmem.data.documents import Documents
from seqmem.data.reading import Read, Rows, overlapping_windows
from seqmem.data.text_size import text_size
from seqmem.data.text_vocabulary import TextVocabulary
from seqmem.data.tokens import read_tokens
from seqmem.data.vocabulary import Vocabulary
from seqmem.data.word_frequency import WordCounts
from seqmem.errors import SeqmemError
from seqmem.models.base import CausalModel
from seqmem.ops import bind
from seqmem.schema import validated
from seqmem.state import State
from seqmem.train.breakdown import ByDistance, ByFrequency
from seqmem.train.checkpoint import load_recipe_of, load_tokens, load_trained, load_vocabulary, run_folder
from seqmem.train.device import default_device
from seqmem.train.encoding import measuring
from seqmem.train.evaluation import AudioEvaluation, Evaluation, Measurement, TextEvaluation
from seqmem.train.objective import objective_of

C = TypeVar("C", bound=CausalModel)

LENGTHS = ("segment_len", "mem_len", "cmem_len")  # in tokens and slots; they change no weight


def evaluate(
    model: CausalModel,
    documents: Documents,
    vocabulary: Vocabulary,
    *,
    at_document_end: AtDocumentEnd = "carry",
    batch_size: int = 1,
    windows: tuple[int, int] | None = None,
    words: WordCounts | None = None,
    text: str = "",
) -> Evaluation:
    """Measure ``model`` on documents; the result is of the vocabulary's kind.

    Args:
        model: in any mode; measured in eval mode, and put back.
        documents: each begun by the vocabulary's ``bos_ids``.
        vocabulary: gave the ids.
        at_document_end: whether memory is carried into the next document, or each begins with an empty one.
        batch_size: of ``carry``, the number of contiguous streams; more are faster, but each starts without context.
            Of ``reset``, documents side by side, which changes nothing.
        windows: context and stride of windows that overlap, ``batch_size`` of them at a time, each begun without memory
            and scored where it is new; instead of streams. With ``reset`` none reaches into another document.
        words: of the training text, where nats are to be told by them; of text.
        text: what ``documents`` are, for the report.

    Raises:
        SeqmemError: there is nothing to score.
    """
    size = _size(documents, vocabulary, text)
    reset = at_document_end == "reset"
    by_position, in_window = ByDistance(), ByDistance() if windows else None
    by_frequency = ByFrequency(documents, words) if words else None
    total_nats, num_tokens = 0.0, 0
    with measuring(model):
        for read, nats in _losses(model, documents, batch_size, windows, reset):
            scored = read.scored.numpy()
            places = read.places[scored]
            total_nats += nats.sum().item()
            num_tokens += len(nats)
            by_position.add(documents.preceding(places), nats)
            if in_window:
                in_window.add(np.nonzero(scored)[1], nats)
            if by_frequency:
                ends = np.cumsum(scored.sum(1))[:-1]
                for row, of_row in zip(np.split(places, ends), np.split(nats, ends), strict=True):
                    if len(row):
                        by_frequency.add(row, of_row)
    kind = AudioEvaluation if isinstance(vocabulary, Codec) else TextEvaluation
    return kind(
        text=text,
        total_nats=total_nats,
        num_tokens=num_tokens,
        num_documents=len(documents),
        lengths=model.config.model_dump(mode="json", include=set(LENGTHS)),
        memory=model.config.memory_note,
        at_document_end=at_document_end,
        num_streams=batch_size,
        windows=windows,
        by_position=by_position.shares(),
        by_position_in_window=in_window.shares() if in_window else None,
        by_word_frequency=by_frequency.shares() if by_frequency else None,
        **size,
    )


def _losses(
    model: CausalModel, documents: Documents, batch_size: int, windows: tuple[int, int] | None, reset: bool
) -> Iterator[tuple[Read, np.ndarray]]:
    """All that is read of the documents, and the nats ``[n]`` of what is scored of it, row after row."""
    config, device = model.config, next(model.parameters()).device
    if windows:
        reads = overlapping_windows(documents, batch_size, *windows, by_document=reset)
    elif reset:
        reads = Rows.by_document(documents, batch_size, config.period).segments(config.segment_len)
    else:
        reads = Rows.end_to_end(documents, batch_size).segments(config.segment_len)
    state: State | None = None
    for read in reads:
        if state and reset and read.begins.any():
            state = model.renew(state, read.begins.to(device))
        out = model(read.inputs.to(device), state)
        state = None if windows else out.state
        nll = model.head.nll(out.hidden[read.scored.to(device)], read.targets[read.scored].to(device))
        yield read, nll.double().cpu().numpy()


def _size(documents: Documents, vocabulary: Vocabulary, text: str) -> dict[str, Any]:
    """What :class:`TextEvaluation` or :class:`AudioEvaluation` says besides the likelihood."""
    if isinstance(vocabulary, Codec):
        num_samples = len(documents.tokens) // vocabulary.tokens_a_sample - len(documents)
        if not num_samples:
            raise SeqmemError(f"evaluation sound '{text}' is empty; give another split or folder")
        return {"num_samples": num_samples, "codec": vocabulary.config.model_dump()}
    assert isinstance(vocabulary, TextVocabulary)
    num_bytes, num_words = text_size(documents.tokens, vocabulary)
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
    at_document_end: AtDocumentEnd | None = None,
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
        at_document_end, windows: see :func:`evaluate`.
        lengths, samples: of recall, instead of the recipe's ``eval_lengths`` and ``samples``.
    """
    recipe = load_recipe_of(path)
    asked = {"eval_lengths": lengths, "samples": samples}
    if asked := {key: value for key, value in asked.items() if value is not None}:
        if not recipe.recall:
            raise SeqmemError(f"run '{path}' is not of recall, which alone has lengths and samples; leave them out")
        changed = validated(RecallConfig, recipe.recall.model_dump() | asked, "recall")
        recipe = recipe.model_copy(update={"recall": changed})
    given = {
        "segment_len": segment_len,
        "mem_len": mem_len,
        "cmem_len": cmem_len,
        "at_document_end": at_document_end,
    }
    config = recipe.eval.model_copy(update={key: value for key, value in given.items() if value is not None})
    vocabulary = load_vocabulary(path)
    run_dir = run_folder(path)
    corpus = load_tokens(path) if data is None else read_tokens(DataConfig.model_validate({"path": data}), vocabulary)
    text = f"{split} split of {corpus.note}"
    model = load_trained(path, bind(backend or recipe.backend)).to(default_device())
    words = _word_counts(path, vocabulary)
    evaluation = objective_of(recipe).evaluate(model, corpus, vocabulary, split, config, text, windows, words)
    if isinstance(corpus, AudioCorpus) and isinstance(evaluation, AudioEvaluation):
        evaluation = replace(evaluation, baselines=corpus.baselines(split))
    (run_dir / evaluation.file).write_text(json.dumps(evaluation.to_json(), indent=2) + "\n")
    return evaluation


def _word_counts(path: Path, vocabulary: Vocabulary) -> WordCounts | None:
    """Of what a run was trained on, where it has text and still has it."""
    if not isinstance(vocabulary, TextVocabulary):
        return None
    try:
        return WordCounts(Documents.of(load_tokens(path), "train", vocabulary), vocabulary)
    except SeqmemError:
        return None

"""The measures against a model whose probabilities are known, and the protocol's invariances."""

import json
import math
import tracemalloc
import weakref
from collections import Counter

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from seqmem.config import EvalConfig, TokenizerConfig
from seqmem.data.documents import Documents
from seqmem.data.sources.source import Text
from seqmem.data.text_vocabulary import TextVocabulary
from seqmem.data.tokenizer import Tokenizer
from seqmem.data.tokenizers import new_tokenizer
from seqmem.errors import SeqmemError
from seqmem.models import build_model
from seqmem.models.base import CausalModel, ModelConfig, Output
from seqmem.ops import bind
from seqmem.schema import validated
from seqmem.state import State
from seqmem.train.evaluate import at_eval_lengths, evaluate, evaluate_run
from seqmem.train.trainer import train

DOCUMENTS = [
    "the cat sat on the mat\nthe rat  sat\ton the hat\n" * 5,
    "on the mat sat — the bat",
    "hat, cat & rat\n" * 7,
]


def laid_out(tokenizer: TextVocabulary, tokens: np.ndarray | None = None) -> Documents:
    """:data:`DOCUMENTS`, or those in ``tokens``."""
    tokens = tokenizer.encode_documents(DOCUMENTS) if tokens is None else tokens
    return Documents(tokens, np.flatnonzero(tokens == tokenizer.bos_id), tokenizer.bos_ids)


class UnigramHead:
    """Gives a token the product of its bytes' probabilities: a tokenizer's choice of pieces cannot change a text's."""

    def __init__(self, tokenizer: TextVocabulary):
        counts = Counter("".join(DOCUMENTS).encode())
        spellings = (tokenizer.decode_bytes([index]) for index in range(tokenizer.vocab_size))
        self._nll = torch.tensor(
            [sum(-math.log(counts[byte] / counts.total()) if counts[byte] else 99 for byte in s) for s in spellings],
            dtype=torch.float64,
        )

    def nll(self, hidden: Tensor, targets: Tensor) -> Tensor:
        return self._nll[targets]


class Unigram(CausalModel):
    def __init__(self, tokenizer: TextVocabulary, segment_len: int):
        super().__init__()
        self.config = ModelConfig(vocab_size=tokenizer.vocab_size, segment_len=segment_len)
        self.head = UnigramHead(tokenizer)  # type: ignore[assignment]
        self.weight = nn.Parameter(torch.zeros(1))

    def init_state(self, batch_size: int) -> State:
        return State()

    def forward(self, inputs: Tensor, state: State | None = None) -> Output:
        return Output(inputs[..., None].float(), State())


def known_nats() -> float:
    text = "".join(DOCUMENTS).encode()
    counts = Counter(text)
    return -sum(count * math.log(count / len(text)) for count in counts.values())


@pytest.mark.parametrize(("kind", "vocab_size"), [("unigram", 281), ("bpe", 300), ("bytes", 257)])
@pytest.mark.parametrize(("segment_len", "batch_size"), [(1, 1), (7, 1), (1000, 1), (7, 3)])
@pytest.mark.parametrize("at_document_end", ["carry", "reset"])
def test_known_probabilities_whatever_the_tokens(kind, vocab_size, segment_len, batch_size, at_document_end):
    tokenizer = new_tokenizer([Text("", text) for text in DOCUMENTS], TokenizerConfig(kind=kind, vocab_size=vocab_size))
    documents = laid_out(tokenizer)
    evaluation = evaluate(
        Unigram(tokenizer, segment_len), documents, tokenizer, batch_size=batch_size, at_document_end=at_document_end
    )
    num_bytes = sum(len(document.encode()) for document in DOCUMENTS)
    num_words = sum(len(document.split()) for document in DOCUMENTS)
    assert (evaluation.num_bytes, evaluation.num_words) == (num_bytes, num_words)
    assert evaluation.num_tokens == len(documents.tokens) - len(DOCUMENTS)
    assert evaluation.num_documents == len(DOCUMENTS)
    assert evaluation.total_nats == pytest.approx(known_nats(), rel=1e-12)
    assert evaluation.bits_per_byte == pytest.approx(known_nats() / math.log(2) / num_bytes)
    assert evaluation.word_perplexity == pytest.approx(math.exp(known_nats() / num_words))
    assert evaluation.nats_per_token == pytest.approx(known_nats() / evaluation.num_tokens)


@pytest.mark.parametrize("windows", [(1, 1), (7, 3), (64, 64), (1000, 10)])
def test_overlapping_windows_score_the_same_text(windows):
    tokenizer = Tokenizer.train(DOCUMENTS, TokenizerConfig(vocab_size=281))
    found = evaluate(Unigram(tokenizer, 7), laid_out(tokenizer), tokenizer, batch_size=2, windows=windows)
    assert found.total_nats == pytest.approx(known_nats())
    assert found.context == f"overlapping windows of {windows[0]} tokens, {windows[1]} apart, each begun without memory"
    assert found.to_json()["windows"] == windows


def test_a_window_sees_what_a_stream_sees():
    """Windows of a model that sees 5 tokens give its likelihood under streams, as long as they overlap by as many."""
    torch.manual_seed(0)
    tokenizer = Tokenizer.train(DOCUMENTS, TokenizerConfig(vocab_size=281))
    overrides = {"vocab_size": tokenizer.vocab_size, "window": 3, "dilation": 1, "segment_len": 6}
    model = build_model("longformer-lm/tiny", bind("pytorch"), **overrides).double()
    nats = [
        evaluate(model, laid_out(tokenizer), tokenizer, batch_size=size, windows=windows).total_nats
        for size, windows in ((1, None), (4, (12, 7)), (4, (12, 12)))
    ]
    assert nats[0] == pytest.approx(nats[1], rel=1e-12)
    assert abs(nats[0] - nats[2]) > 1e-6


def test_empty_text_is_an_error():
    tokenizer = Tokenizer.train(DOCUMENTS, TokenizerConfig(vocab_size=275))
    with pytest.raises(SeqmemError, match="'nothing' has no words"):
        evaluate(Unigram(tokenizer, 4), laid_out(tokenizer, np.array([], dtype=np.uint16)), tokenizer, text="nothing")


def test_report_states_the_protocol():
    tokenizer = Tokenizer.train(DOCUMENTS, TokenizerConfig(vocab_size=275))
    evaluation = evaluate(Unigram(tokenizer, 4), laid_out(tokenizer), tokenizer, text="cats")
    table = evaluation.table()
    for part in (
        "cats",
        f"{evaluation.num_words} whitespace words",
        "segments of 4 tokens",
        "1 stream",
        tokenizer.hash,
    ):
        assert part in table
    assert json.loads(json.dumps(evaluation.to_json()))["bits_per_byte"] == evaluation.bits_per_byte


@pytest.fixture
def run(recipe, tmp_path, console):
    return train(recipe, tmp_path / "run", console=console)


def test_run_is_measured_and_written_down(run):
    evaluation = evaluate_run(run, "test")
    assert json.loads((run / "eval.json").read_text()) == evaluation.to_json()
    assert evaluation.text.startswith("test split of Folder")
    assert evaluation.lengths == {"segment_len": 8, "mem_len": 12}
    assert evaluation.lengths.items() <= evaluation.to_json().items()


def test_final_validation_record_is_what_eval_says(run):
    last = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])
    assert evaluate_run(run).bits_per_byte == pytest.approx(last["validation_bits_per_byte"], rel=1e-5)


def test_lengths_and_text_can_be_others(run, tmp_path):
    folder = tmp_path / "other"
    (folder / "train").mkdir(parents=True)
    (folder / "val").mkdir()
    (folder / "train" / "a.txt").write_text("unused")
    (folder / "val" / "b.txt").write_text("four words in all")
    evaluation = evaluate_run(run, data=folder, segment_len=3, mem_len=5)
    assert (evaluation.num_words, evaluation.num_bytes) == (4, 17)
    assert "segments of 3 tokens, 5 tokens of memory" in evaluation.context
    with pytest.raises(SeqmemError, match="no words"):
        evaluate_run(run, "test", data=folder)


def test_memory_helps_or_hurts_but_is_there(run):
    with_memory, without = (evaluate_run(run, mem_len=mem_len).total_nats for mem_len in (12, 0))
    assert with_memory != without


def test_every_layer_may_have_its_own_memory(run):
    evaluation = evaluate_run(run, mem_len=(4, 12))
    assert json.loads((run / "eval.json").read_text())["mem_len"] == [4, 12]
    assert "4 to 12 tokens of memory" in evaluation.context
    assert len({evaluate_run(run, mem_len=mem_len).total_nats for mem_len in (4, (4, 12), (12, 4), 12)}) == 4
    with pytest.raises(SeqmemError, match="3 values for 2 layers"):
        evaluate_run(run, mem_len=(4, 4, 12))


def test_compressed_memory_may_have_another_size():
    tokenizer = Tokenizer.train(DOCUMENTS, TokenizerConfig(vocab_size=275))
    model = build_model("compressive/tiny", bind(), vocab_size=tokenizer.vocab_size)
    nats = set()
    for cmem_len in (0, 4, [8, 4], 8):
        config = EvalConfig.model_validate({"segment_len": 8, "mem_len": 8, "cmem_len": cmem_len})
        evaluation = evaluate(at_eval_lengths(model, config), laid_out(tokenizer), tokenizer)
        assert evaluation.lengths == {"segment_len": 8, "mem_len": 8, "cmem_len": cmem_len}
        assert evaluation.memory in evaluation.context
        nats.add(evaluation.total_nats)
    assert len(nats) == 4


@pytest.mark.parametrize("key", ["mem_len", "cmem_len"])
def test_length_the_model_does_not_have_is_an_error(key):
    tokenizer = Tokenizer.train(DOCUMENTS, TokenizerConfig(vocab_size=275))
    with pytest.raises(SeqmemError, match=rf"eval\.{key}: this model has no {key}; leave it out"):
        at_eval_lengths(Unigram(tokenizer, 4), EvalConfig.model_validate({key: 3}))


@pytest.mark.parametrize("key", ["mem_len", "cmem_len"])
@pytest.mark.parametrize("value", [-1, [16, -1], "16,16"])
def test_what_is_no_memory_length_is_one_message(key, value):
    with pytest.raises(SeqmemError) as caught:
        validated(EvalConfig, {key: value}, "eval")
    assert (
        str(caught.value) == f"eval: key '{key}' = {value!r}: give a number from 0 up, or one a layer, as [16, 16, 128]"
    )


def test_a_longer_text_takes_no_more_memory(tmp_path):
    tokenizer = Tokenizer.train(DOCUMENTS, TokenizerConfig(vocab_size=275))
    model = Unigram(tokenizer, segment_len=1000)
    text = np.resize(tokenizer.encode(DOCUMENTS[0]), 200_000)
    np.save(tmp_path / "tokens.npy", np.concatenate([np.full_like(text, tokenizer.bos_id, shape=1), text]))
    mapped = np.load(tmp_path / "tokens.npy", mmap_mode="r")
    evaluate(model, laid_out(tokenizer, mapped[:2_000]), tokenizer)  # makes what is made once and kept
    peaks = []
    for num_tokens in (20_000, 200_000):
        documents = laid_out(tokenizer, mapped[:num_tokens])
        tracemalloc.start()
        evaluation = evaluate(model, documents, tokenizer)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert evaluation.num_tokens > 0.9 * num_tokens
    assert peaks[1] == pytest.approx(peaks[0], rel=0.05)


def test_one_state_of_one_size_is_carried():
    """Tensors are not traced, so that their number and sizes are looked at."""
    tokenizer = Tokenizer.train(DOCUMENTS, TokenizerConfig(vocab_size=275))
    tokens = np.resize(tokenizer.encode_documents(DOCUMENTS), 2_001)
    lengths = dict(segment_len=20, mem_len=(30, 70))
    model = build_model("transformer-xl/tiny", bind(), vocab_size=tokenizer.vocab_size, **lengths)
    states, sizes = [], []

    def observe(_model: nn.Module, _arguments: tuple, out: Output) -> None:
        states.append(weakref.ref(out.state))
        sizes.append(sum(tensor.untyped_storage().nbytes() for tensor in out.state.tensors().values()))
        assert sum(state() is not None for state in states) <= 2, "the last and the new one"

    model.register_forward_hook(observe)
    evaluate(model, laid_out(tokenizer, tokens), tokenizer)
    assert len(sizes) == 100
    assert len(set(sizes)) == 1

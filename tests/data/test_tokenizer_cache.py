"""A tokenizer is trained once, whoever asks; damage, other texts and other settings make it train again."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from seqmem.config import TokenizerConfig
from seqmem.data.tokenizer import FILE_NAME, Tokenizer
from seqmem.data.tokenizer_cache import trained_once
from seqmem.errors import SeqmemError

TEXTS = ["the cat sat on the mat\n" * 20]
CONFIG = TokenizerConfig(kind="bpe", vocab_size=270)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SEQMEM_DATA_CACHE", str(tmp_path))
    return tmp_path / "tokenizers"


@pytest.fixture
def trainings(monkeypatch: pytest.MonkeyPatch) -> list[TokenizerConfig]:
    """What was trained, while it goes on."""
    done: list[TokenizerConfig] = []
    train = Tokenizer.train

    def counted(texts, config):
        done.append(config)
        return train(texts, config)

    monkeypatch.setattr(Tokenizer, "train", counted)
    return done


def entries(cache: Path) -> list[Path]:
    return sorted(path for path in cache.iterdir() if not path.name.startswith("."))


def test_the_second_time_it_is_found(cache, trainings):
    first, again = (trained_once(TEXTS, CONFIG) for _ in range(2))
    assert first.hash == again.hash == Tokenizer.train(TEXTS, CONFIG).hash
    assert len(trainings) == 2  # the last one is this test's
    assert len(entries(cache)) == 1


def test_other_texts_and_other_settings_are_others(cache, trainings):
    trained_once(TEXTS, CONFIG)
    trained_once([TEXTS[0] + "a hat\n"], CONFIG)
    trained_once([TEXTS[0], "a hat\n"], CONFIG)
    trained_once(TEXTS, TokenizerConfig(kind="bpe", vocab_size=271))
    trained_once(TEXTS, TokenizerConfig(kind="unigram", vocab_size=270))
    assert len(trainings) == len(entries(cache)) == 5


@pytest.mark.parametrize("damage", ["truncated", "another", "absent", "emptied"])
def test_what_is_damaged_is_trained_again(cache, trainings, damage):
    whole = trained_once(TEXTS, CONFIG)
    model = entries(cache)[0] / FILE_NAME
    if damage == "truncated":
        model.write_bytes(model.read_bytes()[:-9])
    elif damage == "another":
        Tokenizer.train(["a dog on a log\n" * 20], CONFIG).save(model.parent)
    elif damage == "absent":
        model.unlink()
    else:
        shutil.rmtree(model.parent)
        model.parent.mkdir()
    trainings.clear()
    assert trained_once(TEXTS, CONFIG).hash == whole.hash
    assert trained_once(TEXTS, CONFIG).hash == whole.hash
    assert len(trainings) == 1


def test_of_several_at_once_one_trains(trainings):
    with ThreadPoolExecutor(4) as threads:
        made = list(threads.map(lambda _: trained_once(TEXTS, CONFIG).hash, range(4)))
    assert len(set(made)) == len(trainings) == 1


def test_what_cannot_be_trained_is_not_kept(cache):
    for _ in range(2):
        with pytest.raises(SeqmemError, match="the largest size possible"):
            trained_once(TEXTS, TokenizerConfig(vocab_size=4096))
    assert not entries(cache)

"""Sounds by what a recipe says: a corpus of the installation, files, or a store."""

import numpy as np
import pytest
import soundfile

from seqmem.config import DataConfig
from seqmem.data import synthesiser
from seqmem.data.audio_prepare import prepare
from seqmem.data.corpus import SPLITS
from seqmem.data.samples import to_int16
from seqmem.data.sounds import load_sounds
from seqmem.errors import SeqmemError


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SEQMEM_DATA_CACHE", str(tmp_path / "cache"))


def test_an_embedded_corpus_is_made_once(monkeypatch):
    config = DataConfig(corpus="sine")
    store = load_sounds(config, 4000)
    for split, sounds in synthesiser.recordings("sine", 4000).items():
        expected = np.concatenate([np.append(np.int16(0), to_int16(sound)) for sound in sounds])
        assert np.array_equal(store.samples[split], expected)
        assert store.report.seconds[split] == sum(map(len, sounds)) / 4000
    assert store.report.peak == pytest.approx(0.5, abs=1e-3)
    assert store.report.silent == 0
    assert "'sine'" in store.note
    monkeypatch.setattr(synthesiser, "recordings", lambda *_: pytest.fail("made again"))
    assert load_sounds(config, 4000).digest == store.digest


def test_another_rate_is_another_store():
    stores = [load_sounds(DataConfig(corpus="sine"), rate) for rate in (2000, 4000)]
    assert [store.sample_rate for store in stores] == [2000, 4000]
    assert stores[0].folder != stores[1].folder


def test_an_embedded_corpus_of_several_recordings(monkeypatch):
    tones = {split: [np.full(size, 0.5, np.float32) for size in (2, 1)] for split in SPLITS}
    monkeypatch.setattr(synthesiser, "recordings", lambda name, rate: tones)
    store = load_sounds(DataConfig(corpus="plucked-strings"), 4000)
    assert store.samples["train"].tolist() == [0, 16384, 16384, 0, 16384]
    assert store.names["test"] == ["test-0", "test-1"]


def test_files_are_prepared_and_a_store_is_opened(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    soundfile.write(folder / "a.wav", np.sin(np.arange(8000)), 8000)
    store = load_sounds(DataConfig(path=folder), 8000)
    assert store.folder.parent.parent == tmp_path / "cache"
    own = prepare(folder, 8000, tmp_path / "own")
    assert load_sounds(DataConfig(path=own.folder), 16000).sample_rate == 8000, "as it is; the codec's rate must match"
    assert own.digest == store.digest


def test_nothing_there_is_an_error(tmp_path):
    with pytest.raises(SeqmemError, match="do not exist"):
        load_sounds(DataConfig(path=tmp_path / "nowhere"), 8000)

"""``seqmem import-hf`` and ``seqmem export-hf``."""

from pathlib import Path

import torch

from seqmem.models import build_model
from seqmem.ops import bind
from seqmem.train.checkpoint import load, write_model


def test_a_model_goes_out_and_comes_back(seqmem, tmp_path: Path):
    model = build_model("transformer-xl/tiny", bind("pytorch"))
    (tmp_path / "ours").mkdir()
    write_model(tmp_path / "ours", "transformer-xl", model)
    shown = seqmem("export-hf", str(tmp_path / "ours"), "--out", str(tmp_path / "theirs"))
    assert shown.code == 0, shown.err
    assert shown.out.splitlines()[0].startswith("note: memory begins empty here")
    assert shown.out.splitlines()[1].split() == ["model", str(tmp_path / "theirs")]
    shown = seqmem("import-hf", str(tmp_path / "theirs"), "--out", str(tmp_path / "again"))
    assert (shown.code, shown.out.split()) == (0, ["model", str(tmp_path / "again")])
    again = load(tmp_path / "again").state_dict()
    assert all(torch.equal(again[name], weight) for name, weight in model.state_dict().items())


def test_a_folder_that_cannot_be_read_is_one_line(seqmem, tmp_path: Path):
    shown = seqmem("import-hf", str(tmp_path), "--out", str(tmp_path / "ours"))
    assert (shown.code, shown.err.count("\n")) == (1, 1)
    assert "config.json cannot be read; give a folder that save_pretrained wrote" in shown.err

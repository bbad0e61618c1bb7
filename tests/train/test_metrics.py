"""metrics.jsonl grows by whole records and is cut back to where a run resumes."""

import sys

import pytest

from seqmem.errors import SeqmemError
from seqmem.train.metrics import MetricsLog


def steps(run) -> list[str]:
    return (run / "metrics.jsonl").read_text().splitlines()


def test_records_are_appended_and_on_disk_at_once(tmp_path):
    with MetricsLog(tmp_path, 0) as log:
        log.write({"step": 1, "loss": 0.1})
        assert steps(tmp_path) == ['{"step": 1, "loss": 0.1}']
        log.write({"step": 2, "loss": 0.2})
    assert len(steps(tmp_path)) == 2


@pytest.mark.parametrize(("step", "kept"), [(0, 0), (1, 1), (2, 3), (3, 3), (9, 4)])
def test_log_is_cut_back_to_the_step(tmp_path, step, kept):
    lines = ['{"step": 1}', '{"step": 2}', '{"step": 2, "evaluation": "é"}', '{"step": 4}']
    (tmp_path / "metrics.jsonl").write_text("\n".join(lines) + '\n{"step": 5, "lo')
    with MetricsLog(tmp_path, step) as log:
        log.write({"step": 10})
    assert steps(tmp_path) == [*lines[:kept], '{"step": 10}']


def test_tensorboard_missing_is_an_error_with_the_fix(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(SeqmemError, match=r"train\.tensorboard.*pip install tensorboard"):
        MetricsLog(tmp_path, 0, tensorboard=True)

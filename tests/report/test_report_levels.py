"""The picture of a data report."""

import numpy as np
from matplotlib.image import imread

from seqmem.data.audio_report import Measures, Report
from seqmem.data.audio_store import write
from seqmem.data.corpus import SPLITS
from seqmem.report.levels import drawn_report


def test_the_picture_is_drawn_once(tmp_path):
    measures = Measures()
    measures.add_samples((3000 * np.sin(np.arange(8000))).astype(np.int16), 8000)
    report = Report.build(8000, "a rule", 1, dict.fromkeys(SPLITS, 8000), measures)
    store = write(tmp_path / "s", 8000, {split: [] for split in SPLITS}, "", "", report)
    path = drawn_report(store)
    assert path == tmp_path / "s" / "report.png"
    assert imread(path)[..., :3].std() > 0.05, "something is drawn"
    path.write_bytes(b"drawn")
    assert drawn_report(store).read_bytes() == b"drawn"

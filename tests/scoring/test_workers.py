"""Worker processes give the bytes of one process."""

import small_scorer
from small_scorer import tree

from divergence.scoring.score import score_log


def test_processes_give_the_same_bytes(model, logs, tmp_path):
    for workers in (0, 2):
        score_log(model, [logs], tmp_path / f"out{workers}", load=small_scorer.load, workers=workers)
    assert tree(tmp_path / "out0") == tree(tmp_path / "out2")
    assert len(tree(tmp_path / "out0")) == 7

"""The table of measures beside plain rates."""

from divergence.report import tables
from divergence.report.sharpness import limits, table

SAME = {"score": [0.1, 0.08, 0.12], "plain": [0.2, 0.15, 0.25], "difference": [-0.1, -0.12, -0.08]}
NAMES = ("brier", "log_loss", "auc", "capture_0.01", "capture_0.05", "capture_0.1", "resolution", "uncertainty")


def test_each_measure_stands_beside_its_plain_rate():
    page = tables.fragment(table({"seen": dict.fromkeys(NAMES, SAME)}))
    assert "item seen" in page and "item not seen" not in page and "0.200 (0.150 to 0.250)" in page
    assert table({}) is None and table({"seen": {}}) is None
    assert limits([0.5, None, None]) == "0.500" and limits([None, None, None]) == ""

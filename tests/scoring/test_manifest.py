"""What the manifest names."""

import functools

import polars as pl
import small_scorer
from small_scorer import tree

from divergence.scoring.score import score_log

score = functools.partial(score_log, load=small_scorer.load, workers=0)


def inodes(folder):
    """Which file each name is: a result that was kept is the same file."""
    return {p.relative_to(folder).as_posix(): p.stat().st_ino for p in sorted(folder.rglob("*.parquet"))}


def test_results_that_belong_to_no_partition_are_named(model, logs, tmp_path):
    out = tmp_path / "out"
    score(model, [logs], out)
    (logs / "part-0.parquet").unlink()
    (logs / "part-1.parquet").write_bytes(b"broken")
    scored = score(model, [logs], out)
    assert scored.manifest["left_over"] == ["part-0.parquet"]
    assert len(scored.failed) == 1 and (out / "part-0.parquet").exists()


def test_an_earlier_result_of_a_partition_that_fails_now_is_put_aside(model, logs, tmp_path):
    """Nobody who reads the folder reads it; when the partition is whole again its result is what it was."""
    out, whole = tmp_path / "out", (logs / "late/part-5.parquet").read_bytes()
    score(model, [logs], out)
    before = tree(out)
    for content in (b"broken", pl.DataFrame({"a": [1]}).write_ipc(None).getvalue()):
        (logs / "late/part-5.parquet").write_bytes(content)
        made = score(model, [logs], out).manifest
        assert (made["outdated"], made["left_over"]) == (["late/part-5.parquet.outdated"], [])
        assert "late/part-5.parquet" not in inodes(out) and len(inodes(out)) == 5
    pl.DataFrame({"metric": [1], "execution_id": ["a"]}).write_parquet(logs / "late/part-5.parquet")  # no log any more
    assert score(model, [logs], out).manifest["outdated"] == ["late/part-5.parquet.outdated"]
    (logs / "late/part-5.parquet").write_bytes(whole)
    score(model, [logs], out)
    assert tree(out) == before

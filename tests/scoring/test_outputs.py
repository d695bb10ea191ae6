"""A result is whole and of the present format, or it is made again."""

import polars as pl
import small_scorer

from divergence.scoring.score import score_log


def score(model, logs, out, **options):
    """In this process."""
    return score_log(model, logs if isinstance(logs, list) else [logs], out, load=small_scorer.load, workers=0, **options)


def test_a_result_of_another_format_or_a_damaged_one_is_made_again(model, logs, tmp_path, monkeypatch):
    """A newer version's results, and files of their names that are something else: not trusted, and no error."""
    score(model, logs, tmp_path / "good")
    monkeypatch.setattr("divergence.scoring.jobs.FORMAT", 99)
    score(model, logs, tmp_path / "out")
    monkeypatch.undo()
    (tmp_path / "out/part-1.parquet").write_bytes(b"PAR1 and nothing else PAR1")
    pl.DataFrame({"a": [1]}).write_parquet(tmp_path / "out/part-2.parquet")
    (tmp_path / "out/manifest.json").write_text("{")
    score(model, logs, tmp_path / "out")
    for path in (tmp_path / "good").rglob("*.parquet"):
        assert (tmp_path / "out" / path.relative_to(tmp_path / "good")).read_bytes() == path.read_bytes()
    assert (tmp_path / "out/manifest.json").read_bytes() == (tmp_path / "good/manifest.json").read_bytes()


def test_a_result_that_is_no_score_is_refused(model, logs, tmp_path):
    def load(folder):
        scorer = small_scorer.load(folder)
        inner = scorer.score
        scorer.score = lambda batch: inner(batch).slice(1)
        return scorer

    scored = score_log(model, [logs / "part-0.parquet"], tmp_path / "out", load=load, workers=0)
    assert "a score has one row a request" in scored.failed[0]["reason"]

"""Results of a run take their places at once: until then a folder holds what the last run left, and no work is lost."""

import functools

import polars as pl
import pytest
import small_scorer
from small_scorer import ENGINES, ITEMS, MODELS, tree

from divergence import staging
from divergence.scoring.outputs import ASIDE, UNFINISHED
from divergence.scoring.score import Progress, score_log

score = functools.partial(score_log, load=small_scorer.load, workers=0)


def shown(folder):
    """The results and the manifest, as whoever reads the folder finds them."""
    return {name: made for name, made in tree(folder).items() if not name.startswith(".")}


class Watched(Progress):
    """Sees the folder after every partition; stops the run after some."""

    def __init__(self, folder, stop_after=None):
        self.folder, self.stop_after, self.seen = folder, stop_after, []

    def done(self, _):
        self.seen.append(shown(self.folder))
        if len(self.seen) == self.stop_after:
            raise KeyboardInterrupt


def test_the_last_results_stay_until_all_new_ones_are_there(model, logs, tmp_path):
    out = tmp_path / "out"
    score(model, [logs], out)
    before = shown(out)
    small_scorer.save(model, MODELS, ENGINES, ITEMS, seed=1)
    watched = Watched(out)
    score(model, [logs], out, progress=watched)
    assert len(watched.seen) == 6 and all(seen == before for seen in watched.seen)
    score(model, [logs], tmp_path / "whole")
    assert shown(out) == shown(tmp_path / "whole") and shown(out).keys() == before.keys()
    assert not [path for path in tmp_path.rglob(".*") if path.name != ".divergence-lock"]


def test_the_first_results_appear_together_too(model, logs, tmp_path):
    watched = Watched(tmp_path / "out")
    score(model, [logs], tmp_path / "out", progress=watched)
    assert not any(watched.seen) and len(shown(tmp_path / "out")) == 7


@pytest.mark.parametrize("older", [False, True])
def test_a_run_that_goes_on_takes_what_was_finished(model, logs, tmp_path, older):
    out = tmp_path / "out"
    if older:
        score(model, [logs], out)
        small_scorer.save(model, MODELS, ENGINES, ITEMS, seed=1)
    before = shown(out) if older else {}
    with pytest.raises(KeyboardInterrupt):
        score(model, [logs], out, progress=Watched(out, 4))
    assert shown(out) == before
    aside = {path.name: path.stat().st_ino for path in (out / UNFINISHED).rglob("*.parquet")}
    assert len(aside) == 4
    score(model, [logs], out)
    kept = {path.name: path.stat().st_ino for path in out.rglob("*.parquet")}
    assert aside.items() <= kept.items() and not (out / UNFINISHED).exists()
    score(model, [logs], tmp_path / "whole")
    assert shown(out) == shown(tmp_path / "whole")


def test_what_another_model_had_finished_is_not_taken(model, logs, tmp_path):
    """Nor what was finished when the last whole results turn out to be right after all."""
    out = tmp_path / "out"
    score(model, [logs], out)
    before = shown(out)
    first = small_scorer.save(tmp_path / "other", MODELS, ENGINES, ITEMS, seed=1)
    with pytest.raises(KeyboardInterrupt):
        score(first, [logs], out, progress=Watched(out, 3))
    score(model, [logs], out)
    assert shown(out) == before and not (out / UNFINISHED).exists()


def test_a_partition_that_fails_now_goes_aside_with_the_others(model, logs, tmp_path):
    out = tmp_path / "out"
    score(model, [logs], out)
    before = shown(out)
    whole = (logs / "part-1.parquet").read_bytes()
    (logs / "part-1.parquet").write_bytes(b"broken")
    watched = Watched(out)
    assert score(model, [logs], out, progress=watched).manifest["outdated"] == ["part-1.parquet" + ASIDE]
    assert all(seen == before for seen in watched.seen)
    now = shown(out)
    assert now["part-1.parquet" + ASIDE] == before["part-1.parquet"] and "part-1.parquet" not in now
    (logs / "part-1.parquet").write_bytes(whole)
    score(model, [logs], out)
    assert shown(out) == before


def test_where_folders_cannot_be_exchanged_the_manifest_goes_first_and_comes_last(model, logs, tmp_path, monkeypatch):
    out = tmp_path / "out"
    score(model, [logs], out)
    small_scorer.save(model, MODELS, ENGINES, ITEMS, seed=1)
    monkeypatch.setattr(staging, "_exchange", lambda: None)
    replace, manifests = staging.os.replace, []

    def seen(source, target):
        if str(target).startswith(str(out)) and UNFINISHED not in str(target):
            manifests.append((out / "manifest.json").exists())
        replace(source, target)

    monkeypatch.setattr(staging.os, "replace", seen)
    score(model, [logs], out)
    monkeypatch.undo()
    assert manifests and not any(manifests)
    score(model, [logs], tmp_path / "whole")
    assert shown(out) == shown(tmp_path / "whole") and not (out / UNFINISHED).exists()


def test_files_of_others_stay(model, logs, tmp_path):
    out = tmp_path / "out"
    (out / "late").mkdir(parents=True)
    for name in ("notes.txt", "late/theirs.parquet"):
        pl.DataFrame({"a": [1]}).write_parquet(out / name)
    score(model, [logs], out)
    assert pl.read_parquet(out / "late/theirs.parquet").columns == pl.read_parquet(out / "notes.txt").columns == ["a"]
    assert (out / "late/part-5.parquet").exists()


def test_what_a_run_killed_in_its_last_step_left_is_gone_after_the_next(model, logs, tmp_path):
    """The results are there, so that the next run has nothing to put in place."""
    out = tmp_path / "out"
    score(model, [logs], out)
    before = shown(out)
    left = tmp_path / ".out.divergence"
    (left / "new").mkdir(parents=True)
    (left / "new" / "part-0.parquet").write_bytes(b"old")
    (tmp_path / ".out.divergence-lock").touch()
    score(model, [logs], out)
    assert shown(out) == before and not left.exists() and not (tmp_path / ".out.divergence-lock").exists()

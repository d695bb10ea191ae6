"""An import on disk: whole or not at all, with what it was made from, and readable as a log."""

import hashlib
import json
import os
import pathlib
import shutil

import polars as pl
import pytest

import divergence.executions as executions
from divergence import staging
from divergence.errors import InputError
from divergence.executions.importers import Privacy, import_log, write
from divergence.executions.importers.write_import import METADATA


def test_a_written_import_reads_back_as_a_log_without_rejections(lm_eval_logs, tmp_path):
    imported = import_log([lm_eval_logs])
    written = write(imported, tmp_path / "bench.parquet")
    assert [path.name for path in written] == ["bench.parquet", "bench.outcomes.parquet"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bench.outcomes.parquet", "bench.parquet"]
    log = executions.read(list(written))
    assert (log.counts.rows, log.counts.valid) == (40, 40)
    assert log.outcomes.collect().height == 80
    assert log.scan().collect()["score"].mean() == imported.executions["score"].mean()


def test_an_inspect_import_reads_back_as_a_log_without_rejections(inspect_logs, tmp_path):
    pytest.importorskip("zipfile_zstd")
    imported = import_log([inspect_logs])
    log = executions.read(list(write(imported, tmp_path / "bench.parquet")))
    assert (log.counts.rows, log.counts.valid) == (imported.executions.height,) * 2
    assert log.unused == ()


def test_format_and_sources_stand_in_the_metadata(inspect_log, tmp_path):
    source = inspect_log([{"id": "a", "epoch": 1, "uuid": "u", "scores": {"match": {"value": "C"}}}])
    written = write(import_log([source]), tmp_path / "out" / "a.parquet")
    assert [path.name for path in written] == ["a.parquet"]  # one scorer: the score column says it all
    said = json.loads(pl.read_parquet_metadata(written[0])[METADATA])
    assert said == {"format": "inspect", "sources": {str(source): hashlib.sha256(source.read_bytes()).hexdigest()}}


def test_outcomes_of_an_earlier_import_do_not_stay_behind(inspect_log, tmp_path):
    both = {"match": {"value": "C"}, "includes": {"value": "I"}}
    target = tmp_path / "a.parquet"
    assert len(write(import_log([inspect_log([{"id": "a", "epoch": 1, "uuid": "u", "scores": both}])]), target)) == 2
    single = import_log([inspect_log([{"id": "a", "epoch": 1, "uuid": "v", "scores": {"match": {"value": "C"}}}])])
    write(single, target)
    assert not target.with_name("a.outcomes.parquet").exists()
    pl.DataFrame({"x": [1]}).write_parquet(target.with_name("a.outcomes.parquet"))
    write(single, target)
    assert target.with_name("a.outcomes.parquet").exists()  # not ours: left alone


def test_an_import_is_not_written_over_what_it_is_made_of(inspect_log, tmp_path):
    source = inspect_log([{"id": "a", "epoch": 1, "uuid": "u", "scores": {"match": {"value": "C"}}}])
    before, target = source.read_bytes(), tmp_path / "link.parquet"
    target.symlink_to(source)
    with pytest.raises(InputError, match="is one of the logs that are read"):
        write(import_log([source]), target)
    assert source.read_bytes() == before


def test_tables_of_two_imports_are_not_read_as_one(inspect_log, tmp_path):
    """What a kill between two renamings leaves: new outcomes beside old executions."""
    both = {"match": {"value": "C"}, "includes": {"value": "I"}}
    imported = import_log([inspect_log([{"id": "a", "epoch": 1, "uuid": "u", "scores": both}])])
    one, other = write(imported, tmp_path / "a.parquet"), write(imported, tmp_path / "other" / "a.parquet")
    assert executions.read(list(one)).counts.valid == 1
    other[1].replace(one[1])
    with pytest.raises(InputError, match="are of two imports"):
        executions.read(list(one))
    one[1].unlink()
    assert executions.read(one[0]).counts.valid == 1


KINDS = ("single", "several", "texts", "windows")


@pytest.fixture
def imports(inspect_log, tmp_path):
    """Four imports with other tables each: made anew, with values that tell which of two it is."""

    def make(kind: str, turn: str):
        if kind == "windows":
            (tmp_path / turn).mkdir(exist_ok=True)
            for number, value in enumerate((0, 5 if turn == "old" else 7)):
                (tmp_path / turn / f"page{number}.prom").write_text(f"# TYPE a counter\na_total {value}\n")
            return import_log(sorted((tmp_path / turn).glob("*.prom")))
        scores = {"match": {"value": "C"}} | ({} if kind == "single" else {"includes": {"value": "I"}})
        sample = {"id": "a", "epoch": 1, "uuid": f"{kind}-{turn}", "input": "how?", "scores": scores}
        return import_log([inspect_log([sample], name=f"{kind}-{turn}.json")], privacy=Privacy(keep_text=kind == "texts"))

    return make


def found(folder):
    """What a reader finds: execution ids, judgements and windows; None where there is no log."""
    try:
        log = executions.read(sorted(folder.glob("*.parquet")))
    except InputError as error:
        assert "There is no execution log" in str(error) or "holds windows of telemetry" in str(error), error
        return sorted(pl.read_parquet(folder / "a.telemetry.parquet")["value"]) if any(folder.glob("*telem*")) else None
    judged = [] if log.outcomes is None else log.outcomes.drop("file", "row").collect().rows()
    assert log.telemetry is None
    return log.scan().collect()["execution_id"].to_list(), judged


@pytest.mark.parametrize("old", KINDS)
@pytest.mark.parametrize("new", KINDS)
def test_an_import_that_ends_anywhere_is_the_old_one_or_the_new_one(old, new, imports, tmp_path, monkeypatch):
    """From each step on nothing is done any more, as in a process that is killed: parts stay where they are."""
    target = tmp_path / "out" / "a.parquet"
    real = {"replace": os.replace, "unlink": pathlib.Path.unlink}
    left = 0

    def stopping(name):
        def step(*paths, **more):
            nonlocal left
            if target.parent in pathlib.Path(paths[0]).parents and "lock" not in str(paths[0]):
                if left == 0:
                    raise KeyboardInterrupt
                left -= 1
            return real[name](*paths, **more)

        return step

    seen = set()
    for steps in range(20):
        shutil.rmtree(target.parent, ignore_errors=True)
        write(imports(old, "old"), target)
        before = found(target.parent)
        left = steps
        with monkeypatch.context() as patch:
            patch.setattr(os, "replace", stopping("replace"))
            patch.setattr(pathlib.Path, "unlink", lambda *path, **more: stopping("unlink")(*path, **more))
            try:
                write(imports(new, "new"), target)
            except KeyboardInterrupt:
                killed = True
            else:
                killed = False
        staging._open.clear()
        between = found(target.parent)
        write(imports(new, "new"), target)
        assert not [path for path in target.parent.iterdir() if path.name.startswith(".")]
        after = found(target.parent)
        assert between in (before, after) and before != after
        seen.add(between == after)
        if not killed:
            break
    assert seen == {False, True} and not killed


def test_what_cannot_be_written_leaves_nothing(inspect_log, tmp_path):
    imported = import_log([inspect_log([{"id": "a", "epoch": 1, "uuid": "u", "scores": {"match": {"value": "C"}}}])])
    with pytest.raises(InputError, match=r"\.parquet"):
        write(imported, tmp_path / "a.csv")
    blocked = tmp_path / "folder.parquet"
    blocked.mkdir()
    before = sorted(tmp_path.iterdir())
    with pytest.raises(InputError, match="cannot be written"):
        write(imported, blocked)
    assert sorted(tmp_path.iterdir()) == before


def test_an_import_without_executions_is_a_sentence_and_no_file(inspect_log, lm_eval_run, tmp_path):
    nothing = import_log([inspect_log([])])
    rejected = import_log([lm_eval_run(["{broken", "{}"])])
    before = sorted(tmp_path.iterdir())
    for imported, said in (
        (nothing, "holds a header and no samples"),
        (rejected, "2 were set aside, for example .* row 1: "),
    ):
        assert imported.executions.height == 0
        with pytest.raises(InputError, match=f"Nothing was written: .*{said}"):
            write(imported, tmp_path / "empty.parquet")
    assert sorted(tmp_path.iterdir()) == before


def test_windows_without_executions_are_written_alone(tmp_path, inspect_log):
    target = tmp_path / "out" / "a.parquet"
    write(import_log([inspect_log([{"id": "a", "epoch": 1, "uuid": "u", "scores": {"match": {"value": "C"}}}])]), target)
    for number, value in enumerate((5, 7)):
        (tmp_path / f"page{number}.prom").write_text(f"# TYPE a counter\na_total {value}\n")
    written = write(import_log(sorted(tmp_path.glob("*.prom"))), target)
    assert [path.name for path in written] == ["a.telemetry.parquet"]
    assert sorted(path.name for path in target.parent.iterdir()) == ["a.telemetry.parquet"]  # the earlier import is gone
    assert pl.read_parquet(written[0])["value"].to_list() == [2.0]

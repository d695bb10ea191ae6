"""Files read in processes of their own give what one process gives: tables, notes, rejections, unmapped names, sources."""

import contextlib
import functools
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import polars as pl
import pytest
from genuine_logs import genuine

from divergence.errors import InputError
from divergence.executions.importers import Privacy, import_log, in_groups, write
from divergence.executions.importers.drafting import drafted
from divergence.executions.importers.groups import groups
from divergence.executions.importers.registry import declared, module

SALTED = Privacy(salt=b"s" * 32)
FORMATS = [format.name for format in declared() if format.apart]


@pytest.fixture
def in_this_process(monkeypatch):
    """The groups are drafted and put together, in this process: what processes do is the pool's own test."""

    def read(jobs, _count, _told):
        return (drafted(job, None) for job in reversed(jobs))

    monkeypatch.setattr(in_groups, "_in_processes", read)


def told(imported):
    """Everything that an import gives, comparable; sentences by the alphabet, since each is said once."""
    return {
        "executions": imported.executions.to_dicts(),
        "outcomes": imported.outcomes.to_dicts(),
        "telemetry": imported.telemetry.to_dicts(),
        "texts": imported.texts.to_dicts(),
        "rejected": imported.rejected.to_dicts(),
        "notes": sorted(imported.notes),
        "unmapped": imported.unmapped,
        "missing": imported.missing,
        "sources": list(imported.sources.items()),
        "rows": imported.rows,
    }


def same(paths, **given):
    """Does the import in groups give what the import at once gives? Returns the latter."""
    at_once = import_log(paths, privacy=SALTED, workers=0, **given)
    assert told(import_log(paths, privacy=SALTED, workers=2, **given)) == told(at_once)
    return at_once


@functools.cache
def files_of(format):
    """The genuine files of a format that can be imported together, as many as the test has time for."""
    return list(genuine().get(format, ()))[:8]


@pytest.mark.usefixtures("in_this_process")
@pytest.mark.parametrize("format", FORMATS)
def test_genuine_files_in_groups(format, tmp_path):
    """Each file in a folder of its own and once more under another name: what is seen twice is set aside alike."""
    files = files_of(format)
    if not files:
        pytest.skip(f"there are no genuine files of {format} on this machine")
    for number, path in enumerate(files):
        folder = tmp_path / "logs" / f"{number:02}"
        folder.mkdir(parents=True)
        shutil.copy(path, folder / path.name)
    shutil.copytree(tmp_path / "logs" / "00", tmp_path / "logs" / "again")
    constants = {"model": "m"} if format in ("sglang", "otlp", "aiperf", "vllm-bench") else None
    try:
        at_once = import_log([tmp_path / "logs"], format, constants, workers=0, privacy=SALTED)
    except InputError as error:
        with pytest.raises(InputError) as refused:
            import_log([tmp_path / "logs"], format, constants, workers=2, privacy=SALTED)
        assert str(refused.value) == str(error)
        return
    assert told(import_log([tmp_path / "logs"], format, constants, workers=2, privacy=SALTED)) == told(at_once)


def runs_of_openai_evals(folder, files=3, samples=40, at="2026-01-01"):
    """Records of one model on the same samples: trials go on from one file to the next."""
    for number in range(files):
        run = f"2601010000{number:02}"
        spec = {"completion_fns": ["m"], "eval_name": "e.dev.v0", "base_eval": "e", "split": "dev", "run_id": run}
        lines: list[dict[str, object]] = [{"spec": {**spec, "run_config": {}, "created_at": f"{at} 00:00:00"}}]
        for sample in range(samples):
            about = {"run_id": run, "sample_id": f"e.dev.{sample}", "created_by": "", "created_at": f"{at} 00:00:00+00:00"}
            data = {"correct": (sample + number) % 3 > 0, "expected": "a", "picked": "a"}
            lines.append({**about, "event_id": sample, "type": "match", "data": data})
        lines.append({"final_report": {"accuracy": sum((s + number) % 3 > 0 for s in range(samples)) / samples}})
        (folder / f"{run}_m_e.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return sorted(folder.glob("*.jsonl"))


@pytest.mark.usefixtures("in_this_process")
def test_trials_go_on_over_groups(tmp_path):
    files = runs_of_openai_evals(tmp_path)
    assert len(groups(module("openai-evals").FORMAT.apart, files, SALTED)) == len(files)
    rows = same(files).executions
    assert rows.height == 120 and rows.group_by("item").agg(pl.col("trial").sort())["trial"].to_list() == [[1, 2, 3]] * 40


@pytest.mark.usefixtures("in_this_process")
def test_runs_of_a_task_are_one_group_of_lm_eval(lm_eval_run):
    def line(document, **metrics):
        return {"doc_id": document, "doc_hash": str(document), "filtered_resps": ["a"], "metrics": list(metrics), **metrics}

    paths = [
        lm_eval_run([line(0, acc=1.0, acc_norm=0.0), line(1, acc=0.0, acc_norm=0.0)], "a"),
        lm_eval_run([line(0, exact=1.0)], "b"),
        lm_eval_run([line(0, acc_norm=1.0, acc=0.0)], "a", "2026-01-02T00-00-00.0"),
    ]
    assert [len(group) for group in groups(module("lm-eval").FORMAT.apart, paths, SALTED)] == [2, 1]
    assert same(paths).executions["scorer"].to_list() == ["acc", "acc", "acc", "exact"]
    assert len(groups(module("lm-eval").FORMAT.apart, paths, Privacy(item_by_prompt=True))) == 1


def spans(folder, trace, times, above=None, **attributes):
    folder.mkdir()
    made = [
        {
            "traceId": trace,
            "spanId": f"{trace[:14]}{number:02}",
            "parentSpanId": above or "",
            "name": "chat",
            "startTimeUnixNano": str(second * 10**9),
            "endTimeUnixNano": str((second + 1) * 10**9),
            "attributes": [
                {"key": key, "value": {"stringValue": value}}
                for key, value in {"gen_ai.operation.name": "chat", "gen_ai.request.model": "m", **attributes}.items()
            ],
        }
        for number, second in enumerate(times)
    ]
    path = folder / "traces.json"
    path.write_text(json.dumps({"resourceSpans": [{"resource": {}, "scopeSpans": [{"spans": made}]}]}))
    return path


@pytest.mark.usefixtures("in_this_process")
def test_a_conversation_over_folders_is_read_at_once(tmp_path):
    """Two folders, one conversation: the turns of the second follow those of the first."""
    apart = [spans(tmp_path / "a", "a" * 32, (1, 2)), spans(tmp_path / "b", "b" * 32, (3, 4))]
    said = []
    same(apart, progress=said.append)
    assert not [sentence for sentence in said if "at once" in sentence]
    kept = {"gen_ai.conversation.id": "c"}
    over = [spans(tmp_path / "c", "c" * 32, (1, 2), **kept), spans(tmp_path / "d", "d" * 32, (3, 4), **kept)]
    assert same(over, progress=said.append).executions["turn"].to_list() == [0, 1, 2, 3]
    assert [sentence for sentence in said if "at once: calls of several folders belong together" in sentence]


@pytest.mark.usefixtures("in_this_process")
def test_a_trace_over_folders_is_read_at_once(tmp_path):
    """A call whose inner call lies in another folder wraps it, and is not counted."""
    outer = spans(tmp_path / "a", "a" * 32, (1,))
    (tmp_path / "b").mkdir()
    inner = spans(tmp_path / "b" / "c", "a" * 32, (2,), above="a" * 14 + "00")
    changed = inner.read_text().replace(f'"spanId": "{"a" * 14}00"', f'"spanId": "{"b" * 16}"')
    inner.write_text(changed)
    assert same([outer, inner]).rows == 1


@pytest.mark.usefixtures("in_this_process")
def test_an_error_is_that_of_one_process(tmp_path):
    files = runs_of_openai_evals(tmp_path)
    sentences = []
    for workers in (0, 2):
        with pytest.raises(InputError) as refused:
            import_log(files, primary="none", workers=workers)
        sentences.append(str(refused.value))
    assert sentences[0] == sentences[1]


def test_processes_write_the_bytes_of_one(tmp_path):
    files = runs_of_openai_evals(tmp_path)
    for workers in (0, 2):
        write(import_log(files, workers=workers), tmp_path / f"{workers}.parquet")
    assert (tmp_path / "0.parquet").read_bytes() == (tmp_path / "2.parquet").read_bytes()


def test_files_are_few_and_small_for_processes(tmp_path, monkeypatch):
    monkeypatch.setattr(in_groups, "_in_processes", lambda *_: pytest.fail("a process was started"))
    assert import_log(runs_of_openai_evals(tmp_path), workers=None).rows == 120


def left(scratch):
    """Processes that still work in this scratch folder."""
    found = []
    for environment in pathlib.Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if f"TMPDIR={scratch}\0".encode() in environment.read_bytes():
                found.append(environment)
    return found


@pytest.mark.parametrize("seconds", [0.5, 2.0, 3.5])
def test_killed_in_the_middle(tmp_path, seconds):
    """SIGKILL leaves the table that was there, or the whole new one; the workers end with their parent."""
    logs, scratch, output = tmp_path / "logs", tmp_path / "scratch", tmp_path / "out" / "log.parquet"
    logs.mkdir()
    scratch.mkdir()
    output.parent.mkdir()
    runs_of_openai_evals(logs, 4, 10_000)
    before = pl.DataFrame({"a": [1]})
    before.write_parquet(output)
    command = [sys.executable, "-m", "divergence", "import", str(logs), "-o", str(output), "--workers", "2", "--quiet"]
    running = subprocess.Popen(command, env={**os.environ, "TMPDIR": str(scratch)})
    time.sleep(seconds)
    running.send_signal(signal.SIGKILL)
    running.wait()
    assert pl.read_parquet(output).height in (1, 40_000)
    deadline = time.monotonic() + 60
    while left(scratch) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not left(scratch)

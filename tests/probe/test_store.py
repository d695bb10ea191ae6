"""Is every execution written once, and does a killed run lose nothing but what was in flight?"""

import json
import os
import signal
import subprocess
import sys
import time

import polars as pl
import pytest
from journal_rows import journal_row

from divergence.errors import InputError
from divergence.executions import read
from divergence.probe import run
from divergence.probe.store import Store, key_of

PROMPTS = {f"ok {n}": f"{n}" for n in range(60)}
KEYS = ["context", "item", "model", "wave", "trial"]


def start(plan, out):
    """The probe in a process of its own."""
    code = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "  # a background job ignores it
        "from divergence.probe import run; run(sys.argv[1], sys.argv[2], quiet=True)"
    )
    return subprocess.Popen([sys.executable, "-c", code, str(plan), str(out)], stderr=subprocess.PIPE, text=True)


def wait_for_lines(path, number, process):
    """Until the journal has this many lines."""
    deadline = time.monotonic() + 60
    while not path.exists() or path.read_bytes().count(b"\n") < number:
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_kill_9_loses_at_most_what_was_in_flight(write_plan, tmp_path, stub):
    plan = write_plan(PROMPTS)
    whole = pl.read_parquet(run(plan, tmp_path / "whole", quiet=True).path)
    stub.requests.clear()
    stub.pause = 0.1
    out = tmp_path / "killed"
    for lines in (15, 70):
        process = start(plan, out)
        wait_for_lines(out / "executions.journal", lines, process)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert not (out / "executions.parquet").exists()
    stub.pause = 0.0
    with (out / "executions.journal").open("a") as file:
        file.write('{"context": "li')  # as if the kill had come in the middle of a write
    rows = pl.read_parquet(run(plan, out, quiet=True).path)
    assert rows.select(KEYS).sort(KEYS).equals(whole.select(KEYS).sort(KEYS))
    same = ["execution_id", "score", "answer", *KEYS]
    assert rows.select(same).sort(KEYS).equals(whole.select(same).sort(KEYS))
    # Two kills, each with at most four requests in flight, are all that was asked for twice.
    assert rows.height <= len(stub.requests) <= rows.height + 2 * 4

    asked = len(stub.requests)
    again = run(plan, out, quiet=True)
    assert again.rows == rows.height and len(stub.requests) == asked


def test_ctrl_c_stops_in_order(write_plan, tmp_path, stub):
    stub.pause = 0.2
    plan, out = write_plan(PROMPTS), tmp_path / "out"
    process = start(plan, out)
    wait_for_lines(out / "executions.journal", 10, process)
    process.send_signal(signal.SIGINT)
    told = process.communicate(timeout=60)[1]
    stub.pause = 0.0
    assert process.returncode != 0 and told.strip().endswith("KeyboardInterrupt")
    assert sorted(os.listdir(out)) == ["executions.journal"]
    assert [json.loads(line) for line in (out / "executions.journal").read_text().splitlines()]
    assert run(plan, out, quiet=True).rows == 120


def test_a_changed_plan_is_another_plan(write_plan, tmp_path):
    run(write_plan({"ok a": "a"}), tmp_path / "out", quiet=True)
    with pytest.raises(InputError, match="another plan"):
        run(write_plan({"ok b": "b"}), tmp_path / "out", quiet=True)


def test_one_writer_at_a_time(tmp_path):
    with Store(tmp_path, "h"), pytest.raises(InputError, match="another run"):
        Store(tmp_path, "h")
    Store(tmp_path, "h").__exit__()


def test_a_row_is_written_once(tmp_path):
    row = journal_row()
    with Store(tmp_path, "h") as store:
        store.add([row])
        with pytest.raises(ValueError, match="already"):
            store.add([row])
    with Store(tmp_path, "h") as store:
        assert store.done == {key_of(row)} and store.rows() == [row]


@pytest.mark.parametrize("first", ["nonsense", "5", "[]", "{}", '{"plan": 5}', '{"plan": ["h"]}', "[" * 100_000, "9" * 5000])
def test_a_journal_that_names_no_plan_is_refused(first, tmp_path):
    (tmp_path / "executions.journal").write_text(f"{first}\n{json.dumps(journal_row())}\n")
    with pytest.raises(InputError, match="damaged"):
        Store(tmp_path, "h")


def test_a_damaged_journal_is_not_repaired_silently(tmp_path):
    """What is no row is counted, asked again, and left where it is."""
    content = '{"plan": "h"}\nnonsense\n' + json.dumps(journal_row()) + "\n"
    (tmp_path / "executions.journal").write_text(content)
    with Store(tmp_path, "h") as store:
        assert store.damaged == 1 and store.rows() == [journal_row()] and store.done == {key_of(journal_row())}
        store.add([journal_row(item="again")])
    assert (tmp_path / "executions.journal").read_text().startswith(content)


@pytest.mark.prove
def test_twenty_kills_at_random_moments_leave_the_table_of_an_uninterrupted_run(write_plan, tmp_path, stub):
    """2,000 requests, `kill -9` after random pauses until 20 were made; equal row for row by key."""
    import random

    draw = random.Random(20261124)
    plan = write_plan({f"ok {n}": f"{n % 7}" for n in range(1000)})
    whole = pl.read_parquet(run(plan, tmp_path / "whole", quiet=True).path)
    out, kills = tmp_path / "killed", 0
    stub.pause = 0.002
    while kills < 20:
        process = start(plan, out)
        lines = (out / "executions.journal").read_bytes().count(b"\n") if out.exists() else 0
        if lines < 1900:
            wait_for_lines(out / "executions.journal", lines + draw.randrange(1, 90), process)
        time.sleep(draw.random() * 0.05)
        kills += process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.communicate()
    rows = pl.read_parquet(run(plan, out, quiet=True).path)
    same = ["execution_id", "score", "answer", "error_type", *KEYS]
    assert rows.height == 2000 and rows.select(same).sort(KEYS).equals(whole.select(same).sort(KEYS))


def test_a_folder_of_a_probe_that_was_killed_says_what_to_do(tmp_path):
    with Store(tmp_path, "hash"):
        pass
    with pytest.raises(InputError, match=r"journal of a probe.*run it again"):
        read(tmp_path)

"""Does every request become one row, whatever the server does, and does no key ever leave the request?"""

import asyncio
import signal
import threading
import time

import polars as pl
import pytest

from divergence.errors import InputError
from divergence.executions import read
from divergence.probe import dry_run, run
from divergence.probe.reading import read_plan

KEY = "sk-canary-8f3e1b"
FAULTS = {
    "busy x": "http_429", "broken x": "http_500", "forbidden x": "http_401", "moved x": "http_302",
    "long x": "exceed_context_size_error", "html x": "content_type", "reset x": "connection", "hang x": "timeout",
    "cut hello": "truncated_stream", "abort hello": "truncated_stream", "garbage hello": "malformed_json",
    "odd hello": "malformed_json", "fails hello": "server_error",
}  # fmt: skip
SERVED = {
    "ok yes": "yes", "late yes": "yes", "busy-once yes": "yes", "reset-once yes": "yes", "echo x": "?",
    "surrogate yes": "?yes", "ok wrong": "right",
}  # fmt: skip


@pytest.fixture
def log(write_plan, tmp_path, monkeypatch):
    """All faults in one run."""
    monkeypatch.setenv("CANARY", KEY)
    plan = write_plan(dict.fromkeys(FAULTS, "x") | SERVED, endpoint='api_key_env = "CANARY"', timeout_s=1.0)
    summary = run(plan, tmp_path / "out", quiet=True)
    return summary, pl.read_parquet(summary.path)


def test_faults_are_rows_and_the_run_goes_on(log, stub, tmp_path):
    summary, rows = log
    prompts = [*FAULTS, *SERVED]
    name = {f"i{n:03d}": prompt for n, prompt in enumerate(prompts)}
    assert rows.height == summary.rows == 2 * len(prompts)
    assert rows.select("context", "item", "trial").n_unique() == rows.height
    found = {(name[i], c): e for i, c, e in rows.select("item", "context", "error_type").iter_rows()}
    assert found == {(p, c): FAULTS.get(p) for p in prompts for c in ("bench", "live")}
    failed = rows.filter(pl.col("error_type").is_not_null())
    assert failed["score"].null_count() == failed.height == summary.errors == 2 * len(FAULTS)
    served = rows.filter(pl.col("error_type").is_null())
    assert served["score"].null_count() == 0 and (served["ttft_s"] <= served["latency_s"]).all()
    assert served.filter(item="i013")["score"].to_list() == [1.0, 1.0]

    # One retry is allowed; faults that cannot pass are not tried again, and those that did pass count one.
    lasting = {"forbidden x", "moved x", "long x", "html x"}
    retried = {(name[i], c): r for i, c, r in rows.select("item", "context", "retries").iter_rows()}
    assert all(retried[p, "bench"] == (0 if p in lasting else 1) for p in FAULTS)
    # The stub counts attempts at a prompt over both contexts, so only the first of the two met the fault.
    for prompt in ("busy-once yes", "reset-once yes"):
        assert retried[prompt, "bench"] + retried[prompt, "live"] == 1
    assert summary.retries == rows["retries"].sum()

    # The key was sent with every request ...
    assert {request["key"] for request in stub.requests} == {f"Bearer {KEY}"}
    # ... and stands in no file, though a server sent it back as an answer and in error texts.
    for path in (tmp_path / "out").iterdir():
        assert KEY.encode() not in path.read_bytes()
    assert not any(KEY in str(value) for row in rows.iter_rows() for value in row)
    assert served.filter(item="i017")["answer"].to_list() == ["bearer [key]"] * 2


def test_a_missing_key_names_the_field_only(write_plan, tmp_path, monkeypatch):
    monkeypatch.delenv("CANARY", raising=False)
    plan = write_plan({"ok a": "a"}, endpoint='api_key_env = "CANARY"')
    with pytest.raises(InputError, match=r"that api_key_env of endpoint .* names is not set"):
        run(plan, tmp_path / "out", quiet=True)
    monkeypatch.setenv("CANARY", f"{KEY}\nX-Other: 1")
    with pytest.raises(InputError, match="no HTTP header") as raised:
        run(plan, tmp_path / "out", quiet=True)
    assert KEY not in str(raised.value)
    assert not (tmp_path / "out").exists()


def test_rows_say_what_was_measured(write_plan, tmp_path, stub, capsys):
    plan = write_plan({"ok abc": "abc", "late abc": "abc"}, head="waves = 2\ntrials = 2")
    rows = pl.read_parquet(run(plan, tmp_path / "out").path)
    told = capsys.readouterr()
    assert "16 of 16 rows" in told.err and told.out == ""
    assert rows.height == 2 * 2 * 4
    assert set(rows["regime"]) == {"evaluation", "deployment"} and set(rows["wave"]) == {"1", "2"}
    assert rows.filter(wave="1")["trial"].unique().sort().to_list() == [1, 2]
    assert rows.filter(wave="2")["trial"].unique().sort().to_list() == [3, 4]
    assert rows.select("input_tokens", "output_tokens", "cached_tokens").unique().rows() == [(7, 3, 3)]
    late = rows.filter(item="i001")
    assert (late["ttft_s"] >= 0.2).all()
    assert rows.schema["time"] == pl.Datetime("us", "UTC") and rows["time"].is_sorted()
    assert rows["execution_id"].n_unique() == rows.height
    sent = [request for request in stub.requests if request["messages"][-1]["content"] == "ok abc"]
    assert {request.get("temperature") for request in sent} == {0.0, None}


def test_what_a_draft_model_proposed_is_an_outcome_where_there_was_one(write_plan, tmp_path):
    out = tmp_path / "out"
    rows = pl.read_parquet(run(write_plan({"drafted a": "a", "ok b": "b"}), out, quiet=True).path)
    told = pl.read_parquet(out / "outcomes.parquet").join(rows.select("execution_id", "item"), on="execution_id")
    drafted = told.filter(pl.col("metric") != "lenient").select("item", "metric", "value", "scorer").unique().sort("metric")
    assert drafted.rows() == [("i000", "accepted_tokens", 4.0, None), ("i000", "draft_tokens", 6.0, None)]
    assert set(told.filter(metric="lenient")["item"]) == {"i000", "i001"}
    assert read(out).outcomes.collect().height == told.height


def test_a_context_does_what_it_says(write_plan, tmp_path, stub):
    context = 'keep_examples = 1\nwrap = "ok {prompt}!"\nsystem_prompt = "Be brief."'
    plan = write_plan({"ok a": "a"}, context=context)
    item = '{"item": "q", "prompt": "ok a", "gold": "a", "scorer": "exact", "examples": [["x", "1"], ["y", "2"]]}'
    (tmp_path / "items.jsonl").write_text(item)
    run(plan, tmp_path / "out", quiet=True)
    told = {tuple((m["role"], m["content"]) for m in request["messages"]) for request in stub.requests}
    full = (("user", "x"), ("assistant", "1"), ("user", "y"), ("assistant", "2"), ("user", "ok a"))
    short = (("system", "Be brief."), ("user", "y"), ("assistant", "2"), ("user", "ok ok a!"))
    assert told == {full, short}


def test_concurrency_is_what_the_context_declares(write_plan, tmp_path, stub):
    stub.pause = 0.02
    run(write_plan({f"ok {n}": "x" for n in range(40)}), tmp_path / "out", quiet=True)
    assert stub.most_at_once == 4
    assert len(stub.requests) == 80


def test_order_is_drawn_from_the_seed(write_plan, tmp_path, stub):
    plan = write_plan({f"ok {n}": "x" for n in range(20)})
    orders = []
    for number, seed in enumerate((1, 1, 2)):
        stub.requests.clear()
        run(plan, tmp_path / f"out{number}", quiet=True, seed=seed)
        # Only the context with one client has an order that the network cannot change.
        orders.append([r["messages"][-1]["content"] for r in stub.requests if r.get("temperature") == 0.0])
    assert orders[0] == orders[1] != orders[2]
    assert sorted(orders[0]) == sorted(orders[2])


def test_a_plan_is_frozen(write_plan):
    plan = read_plan(write_plan({"ok a": "a"}))
    with pytest.raises(AttributeError):
        plan.waves = 3


def test_a_server_that_dies_in_the_middle_leaves_rows_and_the_run_ends(write_plan, tmp_path, stub):
    """After the stub is gone every request is a row with an error; nothing hangs, nothing is lost."""
    stub.pause = 0.02
    plan = write_plan({f"ok {n}": "x" for n in range(60)})

    def dies() -> None:
        while len(stub.requests) < 30:
            time.sleep(0.01)
        stub.close()

    threading.Thread(target=dies, daemon=True).start()
    summary = run(plan, tmp_path / "out", quiet=True)
    rows = pl.read_parquet(summary.path)
    assert rows.height == 120 and rows.select("context", "item").n_unique() == 120
    failed = rows.filter(pl.col("error_type").is_not_null())
    assert 0 < failed.height < 120 and set(failed["error_type"]) <= {"connection", "truncated_stream"}
    assert (failed["retries"] == 1).all() and failed["score"].null_count() == failed.height


def test_it_runs_inside_a_running_loop_as_a_notebook_has_one(write_plan, tmp_path):
    async def cell():
        return run(write_plan({"ok a": "a", "ok b": "b"}), tmp_path / "out", quiet=True)

    assert asyncio.run(cell()).rows == 4


def test_ctrl_c_in_a_notebook_ends_the_run_in_order(write_plan, tmp_path, stub):
    stub.pause = 0.05
    plan = write_plan({f"ok {n}": "x" for n in range(200)})

    def interrupts() -> None:
        while len(stub.requests) < 10:
            time.sleep(0.01)
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

    async def cell():
        threading.Thread(target=interrupts, daemon=True).start()
        try:
            run(plan, tmp_path / "out", quiet=True)
        except KeyboardInterrupt:
            return "interrupted"

    before = signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a kernel's; `asyncio.run` would set its own
    loop = asyncio.new_event_loop()
    try:
        assert loop.run_until_complete(cell()) == "interrupted"
    finally:
        loop.close()
        signal.signal(signal.SIGINT, before)
    stub.pause = 0.0
    assert run(plan, tmp_path / "out", quiet=True).rows == 400


def test_a_context_may_have_an_endpoint_of_its_own(write_plan, tmp_path, stub):
    """The same model behind another server: its address and its key, and no other's."""
    plan = write_plan({"ok a": "a"}, context='endpoint = "gateway"')
    other = type(stub)()
    plan.write_text(plan.read_text() + f'[endpoint.gateway]\nbase_url = "{other.base_url}"\n')
    assert run(plan, tmp_path / "out", quiet=True).rows == 2
    assert [r.get("temperature") for r in stub.requests] == [0.0]
    assert [r.get("temperature") for r in other.requests] == [None]
    assert f"endpoint gateway: {other.base_url}" in str(dry_run(plan))
    other.close()
    plan.write_text(plan.read_text().replace('endpoint = "gateway"', 'endpoint = "gatway"'))
    with pytest.raises(InputError, match="'live' names the endpoint 'gatway', which must be declared"):
        read_plan(plan)


def test_two_hundred_streams_lose_and_double_nothing(write_plan, tmp_path, stub):
    plan = write_plan({f"ok {n}": f"{n}" for n in range(600)})
    plan.write_text(plan.read_text().replace("concurrency = 4", "concurrency = 200"))
    rows = pl.read_parquet(run(plan, tmp_path / "out", quiet=True).path).filter(context="live")
    assert stub.most_at_once > 50 and rows.height == 600 == rows["item"].n_unique()
    assert rows["error_type"].is_null().all() and (rows["score"] == 1).all()
    assert rows["answer"].to_list() == [str(int(i[1:])) for i in rows["item"]]

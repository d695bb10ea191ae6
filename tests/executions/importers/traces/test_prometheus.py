"""Pages and answers of real servers: one meaning of every number, against what the clients and the READMEs counted."""

import gzip
import json

import polars as pl
import pytest

from divergence.errors import InputError
from divergence.executions import metric_pages
from divergence.executions.importers import detect, import_log


def totals(telemetry: pl.DataFrame) -> dict[str, float]:
    return dict(telemetry.group_by("metric").agg(pl.col("value").sum()).iter_rows())


def windows(logs, *names) -> pl.DataFrame:
    paths = [logs(name) for name in names]
    assert {detect(path) for path in paths} == {"prometheus"}
    imported = import_log(paths)
    assert imported.executions.is_empty() and imported.rejected.is_empty()
    return imported.telemetry


def test_vllm_of_today(logs):
    found = totals(windows(logs, "vllm/metrics_before.prom", "vllm/metrics_after.prom"))
    assert found["input_tokens"] == 2150 and found["cached_tokens"] == 1664 and found["output_tokens"] == 212
    assert found["requests_finished"] == 15
    assert (found["ttft_s count"], found["ttft_s sum"]) == (15, 0.468930721282959)
    assert (found["latency_s sum"], found["queue_s sum"]) == (1.0758416652679443, 0.2323514729969247)
    assert (found["itl_s count"], found["itl_s sum"]) == (197, 0.608643456000209)
    assert (found["tpot_s count"], found["tpot_s sum"]) == (15, 0.047160103065892994)
    assert not any("_created" in metric or metric.startswith("process_") for metric in found)


def test_vllm_of_old_names_the_same_things_the_same():
    old = {"gpu_cache_usage_perc": "gauge", "gpu_prefix_cache_hits_total": "counter"}
    new = {"kv_cache_usage_perc": "gauge", "prefix_cache_hits_total": "counter"}
    pages = [
        metric_pages.parse(
            "".join(f'# TYPE vllm:{name} {kind}\nvllm:{name}{{model_name="a"}} 0.5\n' for name, kind in names.items())
        )
        for names in (old, new)
    ]
    assert pages[0].gauges == pages[1].gauges == {"kv_cache_usage": 0.5}
    assert pages[0].counters == pages[1].counters == {"prefix_cache_hit_tokens": 0.5}


def test_a_genuine_old_page_keeps_the_time_between_tokens(logs):
    reading = metric_pages.parse(logs("vllm/datadog_fixture_v0_excerpt.prom").read_text())
    assert (reading.counters["input_tokens"], reading.counters["output_tokens"]) == (5, 7)
    assert (reading.counters["itl_s count"], reading.counters["itl_s sum"]) == (6, 0.19016313552856445)
    assert "vllm:avg_prompt_throughput_toks_per_s" not in reading.gauges


def test_llama_cpp_over_a_kill_and_a_restart(logs):
    names = ("metrics_before", "metrics_after_12", "metrics_before_kill", "metrics2_before", "metrics2_after_5")
    telemetry = windows(logs, *(f"llamacpp/{name}.prom" for name in names))
    found = totals(telemetry)
    assert found["input_tokens"] == 425 + 175  # the clients' prompts, cached ones included
    assert found["cached_tokens"] == 273 + 81 and found["uncached_input_tokens"] == 152 + 94
    assert found["output_tokens"] == 159 + 61
    assert found["prefill_s"] == pytest.approx(3.4057 + 1.02472, abs=1e-9) and found["decode_s"] == pytest.approx(
        11.1764 + 3.26591
    )
    rates = telemetry.filter(pl.col("metric") == "prefill_tokens_per_s").sort("window_start")["value"]
    assert rates[0] == pytest.approx(152 / 3.4057)  # 44.6, and not the 17.8 since the last scrape by anyone
    assert telemetry.filter(pl.col("metric") == "longest_sequence_tokens")["value"].max() == 58
    assert set(telemetry["instance"]) == {"llamacpp"}


def test_the_batch_of_a_window_is_that_of_its_own_steps():
    page = "llamacpp:n_decode_total {steps}\nllamacpp:n_busy_slots_per_decode {busy}\n"
    first, second = (metric_pages.parse(page.format(steps=s, busy=b)) for s, b in ((10, 1.0), (30, 2.0)))
    found = {series.metric: value for series, value in metric_pages.window(first, second).items()}
    assert found["batch_size"] == pytest.approx((2.0 * 30 - 1.0 * 10) / 20)
    assert "busy_slots_since_start" not in found


def test_sglang_and_its_ranks(logs):
    page = logs("sglang/datadog_fixture_v0.5.10.post1.prom").read_text()
    reading = metric_pages.parse(page)
    assert reading.gauges["kv_cache_usage"] == 0.25 and reading.counters["input_tokens"] == 5
    assert (reading.counters["output_tokens"], reading.counters["cached_tokens"]) == (32, 1)
    doubled = (
        page
        + "\n".join(line.replace('tp_rank="0"', 'tp_rank="1"') for line in page.splitlines() if "tp_rank" in line)
        + "\n"
    )
    assert metric_pages.parse(doubled).gauges == reading.gauges  # a rank repeats its engine
    engines = page.replace('tp_rank="0"', 'dp_rank="0"') + "\n".join(
        line.replace('tp_rank="0"', 'dp_rank="1"') for line in page.splitlines() if "tp_rank" in line
    )
    two = metric_pages.parse(engines + "\n")
    assert two.counters["output_tokens"] == 64 and two.gauges["kv_cache_usage"] == 0.25


def test_tgi(logs):
    counters = metric_pages.parse(logs("tgi/datadog_fixture_excerpt.prom").read_text()).counters
    assert (counters["requests_received"], counters["requests_finished"], counters["requests_failed"]) == (111, 109, 2)
    assert (counters["input_tokens"], counters["request_input_tokens count"]) == (662, 109)
    assert counters["request_inference_s sum"] == 245.91743839099996


def test_litellm(logs):
    path = logs("litellm/metrics_full.prom.gz")
    assert detect(path) == "prometheus"
    counters = metric_pages.parse(gzip.decompress(path.read_bytes()).decode()).counters
    assert counters["cost_usd"] == pytest.approx(0.00132046, rel=1e-12)
    expected = {"input_tokens": 1407, "output_tokens": 487, "requests_received": 19, "requests_failed": 5}
    assert {name: counters[name] for name in expected} == expected
    assert (counters["cached_tokens"], counters["reasoning_tokens"]) == (96, 128)


def test_dcgm_in_si_units_with_absent_sensors_left_out(logs):
    telemetry = windows(logs, "dcgm/readme_sample.prom")
    assert totals(telemetry) == {"gpu_clock_hz": 139e6, "gpu_memory_clock_hz": 405e6}  # the memory has no thermometer
    page = metric_pages.parse(logs("dcgm/datadog_fixture_excerpt.prom").read_text())
    assert page.gauges["gpus"] == 1 and page.counters["gpu_energy_j"] == pytest.approx(128996.013)
    assert {sample.series.instance for sample in page.samples} == {"424773df46e0/gpu0", "ip-11111/gpu0"}


def test_an_answer_over_a_restart_is_differenced_and_not_extrapolated(logs):
    telemetry = windows(logs, "prometheus/query_matrix_raw.json")
    tokens = telemetry.filter(pl.col("metric") == "output_tokens")
    assert tokens["value"].sum() == 151 + 61  # from 8 to 159, and from 0 to 61 after the restart; increase() says 213.58
    assert telemetry["model"].unique().to_list() == ["smollm2-135m"] and (telemetry["window_s"] > 0).all()
    assert tokens["window_start"].is_sorted() and tokens["window_start"].is_unique().all()


def test_answers_of_every_kind(logs):
    every = windows(logs, "prometheus/query_range_all_llamacpp.json")
    assert every.filter(pl.col("metric") == "up").height == 71 - 3 + 3
    assert not every["metric"].str.starts_with("scrape_").any()
    ranged = windows(logs, "prometheus/vllm_query_range_vllm_time_to_first_token_seconds_bucket.json")
    assert totals(ranged)["ttft_s le +Inf"] == 15
    nothing = import_log([logs("prometheus/query_range_ratio_nan.json")])
    assert any("no number" in note for note in nothing.notes) and nothing.telemetry["value"].is_finite().all()
    assert totals(windows(logs, "prometheus/query_increase.json")) == {"query_increase": 213.5827108533554}
    assert set(windows(logs, "prometheus/federate.prom")["instance"]) == {"127.0.0.1:18130"}


def test_an_answer_that_is_an_error_is_set_aside_with_what_the_server_said(logs):
    imported = import_log([logs("prometheus/query_error.json"), logs("prometheus/query_instant.json")])
    assert imported.rejected["rule"].to_list() == ["answer_success"]
    assert "unclosed left parenthesis" in imported.rejected["sentence"][0]


def test_damaged_pages_and_answers(tmp_path):
    page, answer = tmp_path / "page.prom", tmp_path / "answer.json"
    page.write_bytes(b"# TYPE a gauge\na 1\nb{c=\xff} 2\n")
    with pytest.raises(InputError, match="no page of metrics"):
        import_log([page], format="prometheus")
    points = [[1, "2"], [2], ["x", "y"], None, [3, "Infinity"], [4, "5"]]
    result = [{"metric": {"__name__": "vllm:num_requests_running"}, "values": points}, 7, {"metric": 3}]
    answer.write_text(json.dumps({"status": "success", "data": {"resultType": "matrix", "result": result}}))
    assert import_log([answer]).telemetry["value"].to_list() == [2, 5]
    answer.write_text('{"status": "success", "data": {"resultType": "matrix", "result": "none"}}')
    assert import_log([answer]).telemetry.is_empty()


def test_times_of_pages_come_from_their_names(tmp_path):
    for minute in (0, 1):
        name = f"metrics_2026-11-29T13-0{minute}-00Z.prom"
        (tmp_path / name).write_text(f"# TYPE vllm:num_requests_running gauge\nvllm:num_requests_running {minute}\n")
    telemetry = import_log([tmp_path]).telemetry.sort("window_start")
    assert telemetry["window_s"].to_list() == [1.0, 60.0]
    assert telemetry["window_start"].dt.minute().to_list() == [59, 0]


def test_a_page_may_begin_with_other_comments(logs):
    page = logs("sglang/datadog_fixture_v0.5.10.post1.prom")
    assert detect(page) == "prometheus" and import_log([page]).telemetry.height


def test_pages_that_were_copied_are_in_no_order_of_time(logs, tmp_path):
    # Differenced in the order of their names the pages would count the first process twice: 318 tokens where 220 were made.
    names = ("metrics_before", "metrics_after_12", "metrics_before_kill", "metrics2_before", "metrics2_after_5")
    for name in sorted(names):
        (tmp_path / f"{name}.prom").write_bytes(logs(f"llamacpp/{name}.prom").read_bytes())
    folder = import_log([tmp_path])
    assert "output_tokens" not in totals(folder.telemetry) and totals(folder.telemetry)["requests_running"] == 0
    assert folder.telemetry["window_s"].unique().to_list() == [1.0]
    assert any("metrics2_after_5.prom to metrics_before_kill.prom" in note for note in folder.notes)
    assert any("Counters fall in that order" in note for note in folder.notes)
    named = import_log([tmp_path / f"{name}.prom" for name in names])
    assert totals(named.telemetry)["output_tokens"] == 220
    first = import_log([tmp_path / f"{name}.prom" for name in sorted(names)[2:]])  # after_12, before, before_kill: they fall
    assert "output_tokens" not in totals(first.telemetry)


def test_pages_of_one_process_in_the_order_of_their_names_are_differenced(tmp_path):
    for number, value in enumerate((5, 7, 12)):
        (tmp_path / f"page{number}.prom").write_text(f"# TYPE a counter\na_total {value}\n")
    assert totals(import_log([tmp_path]).telemetry) == {"a": 7}


def test_digits_that_are_no_instant(tmp_path):
    page = tmp_path / "page_2026-13-45T99-99-99.prom"
    page.write_text("# TYPE a gauge\na 1\n")
    assert import_log([page]).telemetry["value"].to_list() == [1.0]
    answer = tmp_path / "answer.json"
    points = [["nan", "1"], [1e300, "2"], [-1e20, "3"], [2e9, "4"], {"0": 1}, []]
    result = [{"metric": {"__name__": "a"}, "values": points}]
    answer.write_text(json.dumps({"status": "success", "data": {"resultType": "matrix", "result": result}}))
    assert import_log([answer]).telemetry["value"].to_list() == [4.0]


def test_a_series_that_several_answers_hold_counts_once(logs):
    names = ("all_llamacpp", "llamacpp_requests_processing", "llamacpp_tokens_predicted_total")
    ranges = [logs(f"prometheus/query_range_{name}.json") for name in names]
    alone = totals(import_log(ranges[:1]).telemetry)
    assert totals(import_log(ranges).telemetry) == pytest.approx(alone)  # in another order of adding
    assert alone["requests_running"] == 8
    raw = logs("prometheus/query_matrix_raw.json")  # the same counter at instants of its own
    assert totals(import_log([*ranges, raw]).telemetry)["output_tokens"] == alone["output_tokens"] == 212

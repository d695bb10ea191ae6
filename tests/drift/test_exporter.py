"""The exporter, scraped by a real Prometheus whose rule fires."""

import json
import shutil
import subprocess
import time
import urllib.request

import pytest

from divergence.drift import monitor
from divergence.drift.exporter import alert_rule, serve
from divergence.errors import InputError
from divergence.simulate import stream

pytest.importorskip("prometheus_client", reason="prometheus-client is not installed")
REFERENCE = 4_000
PROMETHEUS = shutil.which("prometheus")


def _get(address: str) -> str:
    with urllib.request.urlopen(address, timeout=5) as answer:
        return answer.read().decode()


@pytest.fixture(scope="module")
def rows():
    return stream("coupling", 2, reference_rows=REFERENCE, chunks=20, change=8)


def test_gauges_are_those_of_the_verdict(rows):
    exporter, port = serve()
    made = monitor(rows[:REFERENCE], horizon=60)
    exporter.show(made.verdict())
    text = _get(f"http://127.0.0.1:{port}/metrics")
    assert 'divergence_drift_alarm{family="structural"} 0.0' in text and "divergence_drift_chunks 0.0" in text
    verdict = made.update(rows[REFERENCE:])
    exporter.show(verdict)
    text = _get(f"http://127.0.0.1:{port}/metrics")
    assert 'divergence_drift_alarm{family="structural"} 1.0' in text
    shown = float(text.split('divergence_drift_log_e_peak{family="structural"} ')[1].split()[0])
    assert shown == pytest.approx(verdict.peak["structural"]) and shown > verdict.threshold
    assert f'divergence_drift_edge_log_e{{a="{verdict.edges[0].a}"' in text
    with pytest.raises(InputError, match="choose another port"):
        serve(port)


def test_rule_is_log_e_above_log_one_over_alpha():
    assert "divergence_drift_log_e_peak > 2.995732" in alert_rule(0.05)
    with pytest.raises(InputError, match="alpha"):
        alert_rule(0)


@pytest.mark.skipif(PROMETHEUS is None, reason="no prometheus on this machine (apt-get install prometheus)")
def test_a_real_prometheus_scrapes_and_fires(rows, tmp_path):
    exporter, port = serve()
    made = monitor(rows[:REFERENCE], horizon=60)
    exporter.show(made.update(rows[REFERENCE : REFERENCE + 1000]))
    (tmp_path / "rules.yml").write_text(alert_rule(0.05, "1s"))
    (tmp_path / "prometheus.yml").write_text(
        f"global: {{scrape_interval: 1s, evaluation_interval: 1s}}\nrule_files: [rules.yml]\n"
        f"scrape_configs:\n  - job_name: drift\n    static_configs:\n      - targets: ['127.0.0.1:{port}']\n"
    )
    listening, other = serve()  # a free port for Prometheus: taken, then let go
    other_port = other
    del listening
    with open(tmp_path / "log", "w") as log:
        process = subprocess.Popen(
            [
                PROMETHEUS,
                f"--config.file={tmp_path / 'prometheus.yml'}",
                f"--storage.tsdb.path={tmp_path / 'data'}",
                f"--web.listen-address=127.0.0.1:{other_port + 1}",
            ],
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    base = f"http://127.0.0.1:{other_port + 1}/api/v1"
    try:
        value = _wait(lambda: json.loads(_get(f"{base}/query?query=divergence_drift_chunks"))["data"]["result"])
        assert float(value[0]["value"][1]) == made.evidence.chunks
        assert json.loads(_get(f"{base}/alerts"))["data"]["alerts"] == []
        exporter.show(made.update(rows[REFERENCE + 1000 :]))
        alerts = _wait(lambda: [a for a in json.loads(_get(f"{base}/alerts"))["data"]["alerts"] if a["state"] == "firing"])
        assert [a["labels"]["family"] for a in alerts] == ["structural"]
    finally:
        process.terminate()
        process.wait(timeout=30)


def _wait(ask, seconds: float = 60.0):
    """The first answer that is not empty."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if answer := ask():
                return answer
        except OSError:
            pass
        time.sleep(0.3)
    raise AssertionError("Prometheus gave no answer in time")

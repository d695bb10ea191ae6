"""A Prometheus exporter of a monitor, and the alert rule that goes with it.

Gauges, all from the last verdict: `divergence_drift_log_e{family}` (divided among the families), `..._log_e_peak{family}`,
`..._log_e_threshold` = log(1/alpha), `..._alarm{family}` (0 or 1), `..._chunks`, `..._rows`, and
`..._edge_log_e{a,b,kind}` of the first edges. The rule fires on log e > log(1/alpha); over a planned run that happens
without a change with a chance of at most alpha, however often Prometheus evaluates it, because the
evidence is valid at any time.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from divergence.drift.layout import FAMILIES
from divergence.drift.verdict import Verdict
from divergence.errors import InputError

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

EDGES = 10
"""Edges that are exported at most: each is a time series of its own in Prometheus."""


def serve(port: int = 0, address: str = "127.0.0.1") -> tuple[Exporter, int]:
    """An exporter that answers HTTP at `address` on a port (0: any free one), and that port."""
    exporter = Exporter()
    from prometheus_client import start_http_server

    try:
        server, _ = start_http_server(port, addr=address, registry=exporter.registry)
    except OSError as error:
        raise InputError(f"The exporter cannot listen on {address}:{port}: {error.strerror}; choose another port.") from None
    return exporter, server.server_port


def alert_rule(alpha: float = 0.05, evaluate: str = "30s") -> str:
    """The rule file for Prometheus, as YAML: one alert a family, on log e > log(1/alpha)."""
    if not 0 < alpha < 1:
        raise InputError(f"alpha is a probability between 0 and 1, seen {alpha}: take for example 0.05.")
    return f"""groups:
  - name: divergence-drift
    interval: {evaluate}
    rules:
      - alert: DivergenceDrift
        expr: divergence_drift_log_e_peak > {math.log(1 / alpha):.6f}
        labels:
          severity: page
        annotations:
          summary: "{{{{ $labels.family }}}} drift: log e = {{{{ $value }}}}, alarm at log(1/{alpha:g})"
          description: "How signals behave (surface) or go together (structural) has changed; see drift.html."
"""


class Exporter:
    """Holds the gauges; `show(verdict)` sets them."""

    registry: CollectorRegistry
    """What Prometheus scrapes."""

    def __init__(self) -> None:
        try:
            from prometheus_client import CollectorRegistry, Gauge
        except ImportError:
            raise InputError("The exporter needs the package prometheus-client: pip install prometheus-client.") from None
        self.registry = CollectorRegistry()
        name, registry = "divergence_drift", self.registry
        self._log_e = Gauge(f"{name}_log_e", "Evidence of a family now, nats", ["family"], registry=registry)
        self._peak = Gauge(f"{name}_log_e_peak", "The most that it was, nats", ["family"], registry=registry)
        self._alarm = Gauge(f"{name}_alarm", "1 after an alarm of the family", ["family"], registry=registry)
        self._threshold = Gauge(f"{name}_log_e_threshold", "log(1/alpha)", registry=registry)
        self._chunks = Gauge(f"{name}_chunks", "Full chunks of the stream", registry=registry)
        self._rows = Gauge(f"{name}_rows", "Rows counted", registry=registry)
        self._edge = Gauge(f"{name}_edge_log_e", "Evidence of an edge, nats", ["a", "b", "kind"], registry=registry)

    def show(self, verdict: Verdict) -> None:
        """Set the gauges to a verdict."""
        alarmed = {alarm.family for alarm in verdict.alarms}
        for family in FAMILIES:
            self._log_e.labels(family).set(verdict.log_evidence[family])
            self._peak.labels(family).set(verdict.peak[family])
            self._alarm.labels(family).set(family in alarmed)
        self._threshold.set(verdict.threshold)
        self._chunks.set(verdict.chunks)
        self._rows.set(verdict.rows)
        self._edge.clear()
        for edge in verdict.edges[:EDGES]:
            self._edge.labels(edge.a, edge.b or "", edge.kind).set(edge.log_e)

"""OTLP in its binary form: the bodies of export requests, given in the shape of OTLP/JSON.

The messages are decoded by `opentelemetry-proto` (extra `otlp`). Traces, logs and metrics have the same outer shape, so a
body is tried as each, and is the one whose identities have the lengths that the protocol prescribes.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from divergence.errors import InputError

SERVICES = {
    "resourceSpans": ("trace", "ExportTraceServiceRequest"),
    "resourceLogs": ("logs", "ExportLogsServiceRequest"),
    "resourceMetrics": ("metrics", "ExportMetricsServiceRequest"),
}
LARGEST = 2**31 - 1  # bytes: what protobuf itself allows of one message
SIGNS = (b"telemetry.sdk.", b"service.name", b"gen_ai.")


def looks_binary(start: bytes) -> bool:
    """Can these be the first bytes of an export request: its field 1, a message, with attributes of a resource?"""
    return start[:1] == b"\n" and any(sign in start for sign in SIGNS)


def document(path: Path) -> dict[str, Any]:
    """The export request of a file, as OTLP/JSON has it; InputError where it is none."""
    if path.stat().st_size > LARGEST:
        raise InputError(f"{path} has more than 2 GiB, which no protobuf message has: write one export request a file.")
    data = path.read_bytes()
    for name, (package, request) in SERVICES.items():
        message = _message(package, request, path)
        if _decoded(message, data) and (found := _READERS[name](message)):
            return {name: found}
    raise InputError(f"{path} is not a whole OTLP export request of traces, logs or metrics.")


def _message(package: str, request: str, path: Path) -> Any:
    service = "metrics_service" if package == "metrics" else f"{package}_service"
    try:
        module = importlib.import_module(f"opentelemetry.proto.collector.{package}.v1.{service}_pb2")
    except ImportError as error:
        raise InputError(
            f"{path} is OTLP in binary form, which needs opentelemetry-proto: install eval-divergence[otlp]."
        ) from error
    return getattr(module, request)()


def _decoded(message: Any, data: bytes) -> bool:
    decoding = importlib.import_module("google.protobuf.message")
    try:
        message.ParseFromString(data)
    except (decoding.DecodeError, RuntimeError):
        return False
    return True


def _spans(message: Any) -> list[dict[str, Any]]:
    found, valid = [], True
    for resource in message.resource_spans:
        scopes = []
        for scope in resource.scope_spans:
            valid = valid and all(len(s.trace_id) == 16 and len(s.span_id) == 8 for s in scope.spans)
            scopes.append({"scope": {"name": scope.scope.name}, "spans": [_span(s) for s in scope.spans]})
        found.append({"resource": {"attributes": _attributes(resource.resource.attributes)}, "scopeSpans": scopes})
    return found if valid and any(scope["spans"] for part in found for scope in part["scopeSpans"]) else []


def _span(span: Any) -> dict[str, Any]:
    return {
        "traceId": span.trace_id.hex(),
        "spanId": span.span_id.hex(),
        "parentSpanId": span.parent_span_id.hex(),
        "name": span.name,
        "startTimeUnixNano": str(span.start_time_unix_nano),
        "endTimeUnixNano": str(span.end_time_unix_nano),
        "status": {"code": span.status.code},
        "attributes": _attributes(span.attributes),
        "events": [
            {"name": e.name, "timeUnixNano": str(e.time_unix_nano), "attributes": _attributes(e.attributes)}
            for e in span.events
        ],
    }


def _logs(message: Any) -> list[dict[str, Any]]:
    found, valid = [], True
    for resource in message.resource_logs:
        scopes = []
        for scope in resource.scope_logs:
            valid = valid and all(r.time_unix_nano or r.observed_time_unix_nano for r in scope.log_records)
            scopes.append({"scope": {"name": scope.scope.name}, "logRecords": [_log(r) for r in scope.log_records]})
        found.append({"resource": {"attributes": _attributes(resource.resource.attributes)}, "scopeLogs": scopes})
    return found if valid and any(scope["logRecords"] for part in found for scope in part["scopeLogs"]) else []


def _log(record: Any) -> dict[str, Any]:
    return {
        "traceId": record.trace_id.hex(),
        "spanId": record.span_id.hex(),
        "timeUnixNano": str(record.time_unix_nano or record.observed_time_unix_nano),
        "eventName": record.event_name,
        "attributes": _attributes(record.attributes),
    }


def _metrics(message: Any) -> list[dict[str, Any]]:
    found = []
    for resource in message.resource_metrics:
        scopes = [
            {"scope": {}, "metrics": [_metric(m) for m in scope.metrics if m.name]} for scope in resource.scope_metrics
        ]
        found.append({"resource": {"attributes": _attributes(resource.resource.attributes)}, "scopeMetrics": scopes})
    return found if any(scope["metrics"] for part in found for scope in part["scopeMetrics"]) else []


def _metric(metric: Any) -> dict[str, Any]:
    kind = metric.WhichOneof("data")
    points = getattr(metric, kind).data_points if kind in ("gauge", "sum", "histogram") else ()
    body: dict[str, Any] = {"dataPoints": [_point(point, kind) for point in points]}
    if kind != "gauge" and points:
        body["aggregationTemporality"] = getattr(metric, kind).aggregation_temporality
    return {"name": metric.name, "unit": metric.unit, str(kind): body}


def _point(point: Any, kind: str) -> dict[str, Any]:
    shared = {
        "attributes": _attributes(point.attributes),
        "startTimeUnixNano": str(point.start_time_unix_nano),
        "timeUnixNano": str(point.time_unix_nano),
    }
    if kind == "histogram":
        counts, bounds = list(point.bucket_counts), list(point.explicit_bounds)
        return {**shared, "count": point.count, "sum": point.sum, "bucketCounts": counts, "explicitBounds": bounds}
    return {**shared, "asDouble": point.as_double if point.WhichOneof("value") == "as_double" else float(point.as_int)}


def _attributes(attributes: Any) -> list[dict[str, Any]]:
    return [{"key": pair.key, "value": _value(pair.value)} for pair in attributes]


def _value(value: Any) -> dict[str, Any]:
    kind = value.WhichOneof("value")
    if kind == "string_value":
        return {"stringValue": value.string_value}
    if kind == "int_value":
        return {"intValue": value.int_value}
    if kind == "double_value":
        return {"doubleValue": value.double_value}
    if kind == "bool_value":
        return {"boolValue": value.bool_value}
    if kind == "array_value":
        return {"arrayValue": {"values": [_value(member) for member in value.array_value.values]}}
    if kind == "kvlist_value":
        return {"kvlistValue": {"values": _attributes(value.kvlist_value.values)}}
    return {}


_READERS = {"resourceSpans": _spans, "resourceLogs": _logs, "resourceMetrics": _metrics}

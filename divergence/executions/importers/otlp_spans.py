"""One OTLP span as a flat record: attribute -> value, with what follows from its events, resource and scope.

Works on the JSON form of OTLP (`otlp_protobuf` gives the binary one in the same shape). Only attributes that the mapping
reads are decoded; the names of the others are collected, and texts and people (`otlp_mapping.DROPPED`) are passed over.
"""

from __future__ import annotations

import base64
import binascii
import functools
import json
from collections.abc import Iterator, Mapping
from typing import Any

from divergence.executions.importers import factors
from divergence.executions.importers.blocks import paths_of
from divergence.executions.importers.json_documents import objects
from divergence.executions.importers.otlp_mapping import (
    ANSWERS,
    DROPPED,
    EXPANDED,
    FIELDS,
    NOTED,
    PARAMETERS,
    PROMPTS,
    SETTINGS,
)
from divergence.executions.importers.written import utc

CALLS = ("chat", "text_completion", "generate_content", "completion", "responses", "embeddings", "embedding", "rerank")
"""Operations that are one answer of one model; agents, tools and workflows are not."""
OPENINFERENCE_CALLS, LANGFUSE_CALLS = ("LLM", "EMBEDDING"), ("generation", "embedding")
FIRST_TOKEN = ("First Token Stream Event", "gen_ai.content.completion.chunk", "new_token")
"""Events that mark a chunk of a stream; the earliest one is the first token."""
STATUS_ERROR = (2, "2", "STATUS_CODE_ERROR", "ERROR")
UNSET = ("Infinity", "inf", "NOT_GIVEN", "{}")
"""What Langfuse writes for settings that were not given."""
WANTED = frozenset(
    {
        *(path for path in paths_of(FIELDS) if not path.startswith(("span.", "resource.", "request."))),
        *(name for names in SETTINGS.values() for name in names),
        *(*EXPANDED, *NOTED, "logfire.span_type", "duration", "gen_ai.response.id", "server.port"),
        *("gen_ai.latency.time_in_model_decode", "langfuse.observation.completion_start_time"),
    }
)
"""Attributes of spans that are decoded."""
PLAIN, JSON_TEXT = "plain", "JSON"
ROLES: dict[Any, str] = {
    **dict.fromkeys(ANSWERS, "text.response"),
    **dict.fromkeys(PROMPTS, "text.prompt"),
    **dict.fromkeys(WANTED, PLAIN),
    **dict.fromkeys(EXPANDED, JSON_TEXT),
}
"""Attribute -> what is done with it: taken, expanded, or held as a text under that name, which is kept only on request."""
SETTING_OF = {path: name for name, paths in SETTINGS.items() for path in paths}
"""Attribute -> setting of the sampler."""
SETTING_PATHS = frozenset(SETTING_OF)
AS_WRITTEN = frozenset({"stringValue", "intValue", "doubleValue"})
"""Kinds of OTLP values that stand for themselves."""
RESOURCE = (
    "service.name",
    "service.version",
    "service.instance.id",
    "cloud.region",
    "host.type",
    "deployment.environment.name",
)
"""Attributes of resources that are decoded."""
UNREADABLE = (AttributeError, KeyError, TypeError, ValueError, RecursionError, OverflowError)
"""What a span of another shape than OTLP's raises; the span is then set aside."""


def value_of(value: Mapping[str, Any]) -> Any:
    """An OTLP value as a Python one: text, number, list or dictionary; None for bytes and for an empty value."""
    for kind, content in value.items():
        if kind in AS_WRITTEN:
            return content
        if kind == "boolValue":
            return "true" if content else "false"
        if kind == "arrayValue":
            return [value_of(member) for member in content.get("values") or ()]
        if kind == "kvlistValue":
            return {member["key"]: value_of(member["value"]) for member in content.get("values") or ()}
    return None


def resources(document: Mapping[str, Any], whole: str, scopes: str, parts: str) -> Iterator[tuple[dict[str, Any], Any]]:
    """(what resource and scope say, span or log record or metric) of one export request, in order.

    `whole`, `scopes`, `parts` are the names of the three levels: `resourceSpans`, `scopeSpans`, `spans`. What is not of
    that shape is passed over here; a document without any is refused by the caller.
    """
    for resource in objects(document.get(whole)):
        attributes = objects(_part(resource, "resource").get("attributes"))
        shared = {f"resource.{key}": value for key, value in _pairs(attributes, RESOURCE)}
        for scope in objects(resource.get(scopes) or resource.get("instrumentationLibrarySpans")):
            said = of_scope(shared, _part(scope, "scope").get("name"))
            for part in objects(scope.get(parts)):
                yield said, part


def flat_span(span: Mapping[str, Any], shared: Mapping[str, Any], unknown: set[str]) -> dict[str, Any]:
    """One span as a flat record; names that nothing reads are added to `unknown`. Raises one of `UNREADABLE`."""
    record = flat_attributes(span.get("attributes") or (), unknown)
    record.update(shared)  # resource and engine, worked out once a scope
    trace, own = _hexadecimal(span.get("traceId")), _hexadecimal(span.get("spanId"))
    record["span.trace"], record["span.id"] = trace, own
    record["span.parent"] = _hexadecimal(span.get("parentSpanId"))
    record["span.identity"] = f"{trace}:{own}" if trace and own else None
    record["span.name"] = span.get("name")
    start, end = (span.get(name) if span.get(name) != "0" else None for name in ("startTimeUnixNano", "endTimeUnixNano"))
    record["span.start"] = start
    if start and end:
        record["span.duration_s"] = (int(end) - int(start)) / 1e9
    if (span.get("status") or {}).get("code") in STATUS_ERROR:
        record["span.error"] = "error"
    if span.get("events"):
        _read_events(span["events"], start, record)
    begun = record.pop("langfuse.observation.completion_start_time", None)
    if begun is not None and start and (instant := utc(begun)) is not None:
        record["span.first_token_s"] = instant.timestamp() - int(start) / 1e9
    if "server.port" in record and "server.address" in record:
        record.setdefault("span.instance", f"{record['server.address']}:{record['server.port']}")
    if "gen_ai.latency.e2e" in record and "span.engine" not in record:
        record["span.engine"] = "sglang" if "sglang" in str(record.get("resource.service.name")) else "vllm"
    return record


def flat_attributes(attributes: Any, unknown: set[str]) -> dict[str, Any]:
    """The attributes that the mapping reads, JSON texts expanded, and the sampler's settings as one label."""
    record: dict[str, Any] = {}
    expanded: list[str] = []
    for attribute in attributes:
        key = attribute["key"]
        role = ROLES.get(key)
        if role is PLAIN:
            value = attribute["value"]
            if len(value) == 1:
                ((kind, text),) = value.items()
                record[key] = text if kind in AS_WRITTEN else value_of(value)
            else:
                record[key] = _text_first(value)
        elif role is None:
            if isinstance(key, str):
                unknown.add(key)
        elif role is JSON_TEXT:
            expanded.append(key)
            _expand(key, _text_first(attribute["value"]), record)
        else:
            record.setdefault(role, attribute["value"])
    settings = []
    if not SETTING_PATHS.isdisjoint(record):
        settings = [(name, str(record[path])) for path, name in SETTING_OF.items() if path in record]
    for prefix in expanded:
        if prefix in PARAMETERS:
            given = ((name, record.get(f"{prefix}.{name}")) for name in factors.SAMPLER_NAMES if name != "seed")
            settings += [(name, str(value)) for name, value in given if value is not None]
    if settings:
        record["request.sampler"] = sampler(tuple(settings))
    return record


def _text_first(value: Mapping[str, Any]) -> Any:
    text = value.get("stringValue")
    return value_of(value) if text is None else text


def is_call(record: Mapping[str, Any]) -> bool:
    """Is this span one answer of one model?"""
    operation = record.get("gen_ai.operation.name") or record.get("llm.request.type")
    if operation is not None:
        return operation in CALLS
    if record.get("openinference.span.kind") in OPENINFERENCE_CALLS:
        return True
    if record.get("langfuse.observation.type") in LANGFUSE_CALLS:
        return True
    if "gen_ai.latency.e2e" in record or record.get("span.name") == "llm_request":
        return True
    return "gen_ai.system" in record and "gen_ai.request.model" in record


def unmapped(unknown: set[str]) -> set[str]:
    """Of the names that nothing reads those that hold no text and no person."""
    return {name for name in unknown if not any(name == part or name.startswith(f"{part}.") for part in DROPPED)}


def _expand(prefix: str, text: Any, record: dict[str, Any]) -> None:
    try:
        members = json.loads(text) if isinstance(text, str) else text
    except (ValueError, RecursionError):
        return
    for name, value in members.items() if isinstance(members, dict) else ():
        if isinstance(value, dict):
            for below, deep in value.items():
                if isinstance(deep, str | int | float):
                    record[f"{prefix}.{name}.{below}"] = deep
        elif isinstance(value, str | int | float):
            record[f"{prefix}.{name}"] = value


@functools.lru_cache(maxsize=4096)
def sampler(settings: tuple[tuple[str, str], ...]) -> str | None:
    """The label of some settings of a sampler, those that say nothing left out."""
    return factors.sampler_label(*({name: value} for name, value in settings if value not in UNSET))


def _read_events(events: Any, start: Any, record: dict[str, Any]) -> None:
    first = None
    for event in events:
        name = event.get("name")
        if name == "exception":
            record.setdefault(
                "span.exception", next((v for _, v in _pairs(event.get("attributes"), ("exception.type",))), None)
            )
        elif name in FIRST_TOKEN and start and event.get("timeUnixNano"):
            instant = int(event["timeUnixNano"])
            first = instant if first is None else min(first, instant)
    if first is not None:
        record["span.first_token_s"] = (first - int(start)) / 1e9


def of_scope(attributes: Mapping[str, Any], scope: Any) -> dict[str, Any]:
    """What all spans of one resource and scope have in common: the engine that wrote them, or the service that asked."""
    engine = next((name for name in ("vllm", "sglang") if isinstance(scope, str) and scope.startswith(name)), None)
    if engine is not None:
        return {**attributes, "span.engine": engine, "span.instance": attributes.get("resource.service.instance.id")}
    service, version = attributes.get("resource.service.name"), attributes.get("resource.service.version")
    if not isinstance(service, str) or service.startswith("unknown_service"):
        return dict(attributes)
    return {**attributes, "resource.service": f"{service} {version}" if version else service}


def _hexadecimal(identity: Any) -> str | None:
    """An id as OTLP/JSON writes it; the base64 of protobuf's own JSON form is turned into it."""
    if identity is None or identity == "":
        return None
    if len(identity) in (16, 32):  # in base64 they have 12 and 24 characters
        return identity
    try:
        return base64.b64decode(identity, validate=True).hex() or None
    except (binascii.Error, ValueError):
        return identity


def _pairs(attributes: Any, wanted: tuple[str, ...]) -> list[tuple[str, Any]]:
    found = []
    for attribute in objects(attributes):
        if isinstance(attribute, dict) and attribute.get("key") in wanted and isinstance(attribute.get("value"), dict):
            found.append((attribute["key"], value_of(attribute["value"])))
    return found


def _part(value: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    part = value.get(name)
    return part if isinstance(part, dict) else {}

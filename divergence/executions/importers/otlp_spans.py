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
from divergence.executions.importers.written import EARLIEST_NS, utc

CALLS = ("chat", "text_completion", "generate_content", "completion", "responses", "embeddings", "embedding", "rerank")
"""Operations that are one answer of one model; agents, tools and workflows are not."""
OPERATIONS = ("gen_ai.operation.name", "llm.request.type")
SIGNS = (
    *("openinference.span.kind", "langfuse.observation.type", "gen_ai.latency.e2e", "span.name"),
    *("gen_ai.system", "gen_ai.request.model"),
)
"""What else tells a call, where no operation is named."""
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
SAMPLED = tuple(name for name in factors.SAMPLER_NAMES if name != "seed")
SETTING_OF = {
    **{path: name for name, paths in SETTINGS.items() for path in paths},
    **{f"{prefix}.{name}": name for prefix in PARAMETERS for name in SAMPLED},
}
"""Path -> setting of the sampler, in the order in which later ones override earlier ones."""
KEPT = WANTED | SETTING_OF.keys()
"""What is read of the members of JSON texts."""
PLAIN, JSON_TEXT, PASSED = "plain", "JSON", "passed"
WITH_TEXTS: dict[Any, str] = {
    **dict.fromkeys(ANSWERS, "text.response"),
    **dict.fromkeys(PROMPTS, "text.prompt"),
    **dict.fromkeys(WANTED, PLAIN),
    **dict.fromkeys(EXPANDED, JSON_TEXT),
}
"""Attribute -> what is done with it: taken, expanded, or held as a text under that name, which is kept only on request."""
WITHOUT_TEXTS = {name: PASSED if role.startswith("text.") else role for name, role in WITH_TEXTS.items()}
EXPANDED_IN_ORDER = tuple(sorted(EXPANDED))
BEGUN = "langfuse.observation.completion_start_time"
REMEMBERED = 1000  # characters of the longest JSON text whose members are remembered
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
        shared = of_resource(resource.get("resource"))
        for scope in objects(resource.get(scopes) or resource.get("instrumentationLibrarySpans")):
            said = of_scope(shared, _part(scope, "scope").get("name"))
            for part in objects(scope.get(parts)):
                yield said, part


def flat_span(span: Mapping[str, Any], shared: Mapping[str, Any], unknown: set[str], texts: bool = True) -> dict[str, Any]:
    """One span as a flat record; names that nothing reads are added to `unknown`. Raises one of `UNREADABLE`.

    `shared` is what its resource and scope say (`of_scope`). Without `texts` prompts and answers are passed over. The label
    of its sampler is not among it (`with_sampler`), as columns work that out once for calls that are alike.
    """
    get = span.get
    record = {**shared}  # worked out once a scope
    _read_attributes(get("attributes") or (), record, unknown, WITH_TEXTS if texts else WITHOUT_TEXTS)
    trace, own = hexadecimal(get("traceId")), hexadecimal(get("spanId"))
    record["span.trace"], record["span.id"] = trace, own
    record["span.parent"] = hexadecimal(get("parentSpanId"))
    record["span.identity"] = f"{trace}:{own}" if trace and own else None
    record["span.name"] = get("name")
    start, end = get("startTimeUnixNano"), get("endTimeUnixNano")
    record["span.start"] = start = start if start != "0" else None
    if start and end and end != "0" and int(start) >= EARLIEST_NS:
        record["span.duration_s"] = (int(end) - int(start)) / 1e9
    status = get("status")
    if status and status.get("code") in STATUS_ERROR:
        record["span.error"] = "error"
    if events := get("events"):
        read_events(events, start, record)
    if BEGUN in record and start:
        record["span.first_token_s"] = first_token(record[BEGUN], start)
    if "server.port" in record and "server.address" in record:
        record.setdefault("span.instance", f"{record['server.address']}:{record['server.port']}")
    if "gen_ai.latency.e2e" in record and "span.engine" not in record:
        record["span.engine"] = "sglang" if "sglang" in str(record.get("resource.service.name")) else "vllm"
    return record


def _read_attributes(attributes: Any, record: dict[str, Any], unknown: set[str], roles: Mapping[Any, str]) -> None:
    """Put the attributes that the mapping reads into a record, JSON texts expanded."""
    role_of, expanded = roles.get, {}
    for attribute in attributes:
        key = attribute["key"]
        role = role_of(key)
        if role is PLAIN or role is JSON_TEXT:
            value = attribute["value"]
            text = value.get("stringValue")
            if text is None and (text := value_of(value)) is None:
                continue
            (record if role is PLAIN else expanded)[key] = text
        elif role is PASSED:
            continue
        elif role is None:
            if isinstance(key, str):
                unknown.add(key)
        else:
            record.setdefault(role, attribute["value"])
    for key in EXPANDED_IN_ORDER if expanded else ():
        for name, value in members(key, expanded.get(key)).items():
            record.setdefault(name, value)


def with_sampler(record: dict[str, Any]) -> dict[str, Any]:
    """A record of `flat_span` with the settings of its sampler as one label."""
    settings = [(name, str(record[path])) for path, name in SETTING_OF.items() if path in record]
    if settings:
        record["request.sampler"] = sampler(tuple(settings))
    return record


def first_token(begun: Any, start: Any) -> Any:
    """Seconds from nanoseconds since 1970 to an instant in words; a text that is no instant stays, to be said."""
    try:
        instant = utc(begun)
        return None if instant is None else instant.timestamp() - int(start) / 1e9
    except ValueError:
        return begun


def is_call(record: Mapping[str, Any]) -> bool:
    """Is this span one answer of one model?"""
    operation = record.get(OPERATIONS[0]) or record.get(OPERATIONS[1])
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


def members(key: str, value: Any) -> Mapping[str, Any]:
    """What the JSON text of an attribute holds, as paths below its name, of those that are read."""
    if isinstance(value, str):
        return _members_of_text(key, value) if len(value) <= REMEMBERED else _members(key, _json(value))
    return _members(key, value)


@functools.lru_cache(maxsize=4096)
def _members_of_text(key: str, text: str) -> Mapping[str, Any]:
    """Settings of requests repeat: worked out once."""
    return _members(key, _json(text))


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _members(key: str, value: Any) -> Mapping[str, Any]:
    found = {}
    for name, member in value.items() if isinstance(value, dict) else ():
        deeper = member.items() if isinstance(member, dict) else ((None, member),)
        for below, deep in deeper:
            path = f"{key}.{name}" if below is None else f"{key}.{name}.{below}"
            if path in KEPT and isinstance(deep, str | int | float):
                found[path] = deep
    return found


@functools.lru_cache(maxsize=4096)
def sampler(settings: tuple[tuple[str, str], ...]) -> str | None:
    """The label of some settings of a sampler, those that say nothing left out."""
    return factors.sampler_label(*({name: value} for name, value in settings if value not in UNSET))


def read_events(events: Any, start: Any, record: dict[str, Any]) -> None:
    """Put the exception and the first token among the events of a span into a record. Raises one of `UNREADABLE`."""
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


def of_resource(resource: Any) -> dict[str, Any]:
    """What a resource says of all its spans."""
    attributes = resource.get("attributes") if isinstance(resource, dict) else None
    return {f"resource.{key}": value for key, value in _pairs(attributes, RESOURCE)}


def of_scope(attributes: Mapping[str, Any], scope: Any) -> dict[str, Any]:
    """What all spans of one resource and scope have in common: the engine that wrote them, or the service that asked."""
    engine = next((name for name in ("vllm", "sglang") if isinstance(scope, str) and scope.startswith(name)), None)
    if engine is not None:
        instance = attributes.get("resource.service.instance.id")
        return {**attributes, "span.engine": engine, **({} if instance is None else {"span.instance": instance})}
    service, version = attributes.get("resource.service.name"), attributes.get("resource.service.version")
    if not isinstance(service, str) or service.startswith("unknown_service"):
        return dict(attributes)
    return {**attributes, "resource.service": f"{service} {version}" if version else service}


def hexadecimal(identity: Any) -> str | None:
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

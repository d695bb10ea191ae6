"""What a page of metrics says, and what changed between two of them: the one reading that probe and importers share.

A page holds samples: a family, labels, a number. A gauge is taken as it stands; a counter and every part of a histogram
is a total, of which a window has the increase, series by series:

    increase = now - before      if now >= before
             = now               if the counter fell: its server was restarted, and counts from 0 again

A series that was not there before has appeared with its first event, so that its whole value is the increase. What means
the same under several names, and what has to be worked out, is in `metric_names`. Units: tokens, seconds, fractions.
"""

from __future__ import annotations

import collections
import dataclasses
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from divergence.executions.metric_names import (
    BLANK,
    BY_FAMILY,
    COUNTER,
    DROPPED,
    GAUGE,
    HISTOGRAM,
    LARGEST,
    MEAN,
    OF_A_PROCESS,
    SUM,
)

TYPE = re.compile(r"^#\s*TYPE\s+(\S+)\s+(\S+)", re.MULTILINE)
PARTS = ("_bucket", "_sum", "_count")
BUSY = "busy_slots_since_start"
MODEL_LABELS = ("model_name", "model", "requested_model", "model_group")
RANK_LABELS = ("tp_rank", "pp_rank", "moe_ep_rank")
"""Labels whose values repeat one number: each rank of an engine that is spread over several devices says it again."""


class Series(NamedTuple):
    """What one number of a window is about."""

    metric: str
    """Canonical name, with ` le EDGE`, ` sum` or ` count` for the parts of a histogram."""
    model: str | None
    """The model that its labels name."""
    instance: str | None
    """The instance that its labels name."""


class MetricSample(NamedTuple):
    """One number of a page."""

    series: Series
    """What it is about."""
    identity: tuple[str, ...]
    """Its own name and labels, which tell it from other samples of the same series."""
    value: float
    """Its value, in the canonical unit."""
    total: bool
    """Does it count up (else it is a gauge)?"""
    over: str
    """How the samples of a series are put together."""


@dataclasses.dataclass(frozen=True)
class MetricPage:
    """All samples of one scrape."""

    samples: tuple[MetricSample, ...]
    """In the order of the page."""

    def as_one(self) -> MetricPage:
        """The same samples, as those of one server: its models and devices put together."""
        return MetricPage(tuple(s._replace(series=Series(s.series.metric, None, None)) for s in self.samples))

    @property
    def gauges(self) -> dict[str, float]:
        """Metric -> value, over models and instances."""
        return _by_metric(sample for sample in self.samples if not sample.total)

    @property
    def counters(self) -> dict[str, float]:
        """Metric -> total since the start, over models and instances."""
        return _by_metric(sample for sample in self.samples if sample.total)


def parse(text: str) -> MetricPage:
    """Samples of a page in Prometheus' text format. Raises ValueError where it is none."""
    from prometheus_client.parser import text_string_to_metric_families

    types = dict(TYPE.findall(text))
    found: list[MetricSample] = []
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found += samples(sample.name, sample.labels, float(sample.value), types)
    return MetricPage(tuple(found))


def samples(name: str, labels: Mapping[str, str], value: float, types: Mapping[str, str]) -> list[MetricSample]:
    """One sample as what it means; empty where it means nothing here. `types` are what the page says of its families."""
    if name.endswith(("_created", "_info")) or name.startswith(OF_A_PROCESS) or not abs(value) < BLANK:
        return []
    family, part = _family(name, types)
    known = BY_FAMILY.get(family)
    if known is not None and known.kind == DROPPED:
        return []
    kind = known.kind if known is not None else _kind(name, family, part, types)
    metric = known.name if known is not None else family
    factor, over = (known.factor, known.over) if known is not None else (1.0, SUM)
    model = next((labels[label] for label in MODEL_LABELS if labels.get(label)), None)
    identity = (name, *(f"{label}={labels[label]}" for label in sorted(labels)))
    edge = labels.get("le", labels.get("quantile"))
    full = f"{metric} le {edge}" if edge is not None else f"{metric} {part}" if kind == HISTOGRAM and part else metric
    instance = labels.get("instance") or _device(labels)
    total = kind == COUNTER or (kind == HISTOGRAM and "quantile" not in labels)
    made = [MetricSample(Series(full, model, instance), identity, value * factor, total, over)]
    if known is not None and known.total and part == "sum":
        made.append(MetricSample(Series(known.total, model, instance), identity, value, True, over))
    return made


def window(before: MetricPage | None, after: MetricPage) -> dict[Series, float]:
    """Series -> value of one window: gauges as they are, counters by their increase; no counters in the first one."""
    changed = [sample for sample in after.samples if not sample.total]
    if before is not None:
        last = {(sample.series, sample.identity): sample.value for sample in before.samples if sample.total}
        for sample in after.samples:
            if sample.total:
                changed.append(sample._replace(value=increase(last.get((sample.series, sample.identity)), sample.value)))
    values = together(changed)
    if before is not None:
        values |= _busy(before, after, values)
    return derived({series: value for series, value in values.items() if series.metric != BUSY})


def _busy(before: MetricPage, after: MetricPage, values: Mapping[Series, float]) -> dict[Series, float]:
    """The batch of the window, from the average that llama.cpp gives since its start and the steps that it is over."""
    made = {}
    for series, busy in values.items():
        steps = values.get(series._replace(metric="decode_steps"), 0.0)
        if series.metric == BUSY and steps > 0:
            now, was = after.counters.get("decode_steps", 0.0), before.counters.get("decode_steps", 0.0)
            earlier = before.gauges.get(BUSY, 0.0) * was if now >= was else 0.0
            made[series._replace(metric="batch_size")] = max((busy * now - earlier) / steps, 0.0)
    return made


def increase(before: float | None, now: float) -> float:
    """By how much a counter rose; it counts from 0 where it is new, or fell with a restart of its server."""
    return now - before if before is not None and now >= before else now


def falls(before: MetricPage, after: MetricPage) -> bool:
    """Does a counter of the first page have a smaller value in the second one?"""
    last = {(sample.series, sample.identity): sample.value for sample in before.samples if sample.total}
    return any(s.total and s.value < last.get((s.series, s.identity), s.value) for s in after.samples)


def derived(values: Mapping[Series, float]) -> dict[Series, float]:
    """The values of a window with those that follow from others: see `metric_names` for what they mean."""
    made = dict(values)
    for _, model, instance in {series._replace(metric="") for series in values}:

        def given(name: str, model: str | None = model, instance: str | None = instance) -> float | None:
            return made.get(Series(name, model, instance))

        def put(name: str, value: float | None, model: str | None = model, instance: str | None = instance) -> None:
            if value is not None and Series(name, model, instance) not in made:
                made[Series(name, model, instance)] = value

        hits, cached, uncached = given("prefix_cache_hit_tokens"), given("cached_tokens"), given("uncached_input_tokens")
        put("cached_tokens", hits)
        put("input_tokens", None if cached is None or uncached is None else cached + uncached)
        put("prefill_tokens_per_s", _ratio(uncached, given("prefill_s")))
        put("decode_tokens_per_s", _ratio(given("output_tokens"), given("decode_s")))
        put("prefix_cache_hit_rate", _ratio(given("cached_tokens"), given("input_tokens")))
    return made


def _ratio(above: float | None, below: float | None) -> float | None:
    return above / below if above is not None and below is not None and below > 0 else None


def _family(name: str, types: Mapping[str, str]) -> tuple[str, str]:
    """The family of a sample, without `_total`, and which part of a histogram it is."""
    if name in BY_FAMILY or types.get(name) in ("counter", "gauge"):
        return name.removesuffix("_total") if name not in BY_FAMILY else name, ""
    for end in PARTS:
        stem = name.removesuffix(end)
        if stem != name and (types.get(stem) in ("histogram", "summary") or _is_histogram(stem)):
            return stem, end.removeprefix("_")
    return name.removesuffix("_total"), ""


def _is_histogram(family: str) -> bool:
    return family in BY_FAMILY and BY_FAMILY[family].kind == HISTOGRAM


def _kind(name: str, family: str, part: str, types: Mapping[str, str]) -> str:
    typed = types.get(name) or types.get(family)
    if part or typed in ("histogram", "summary"):
        return HISTOGRAM
    return COUNTER if typed == "counter" or name.endswith(("_total", "_bucket")) else GAUGE


def _device(labels: Mapping[str, str]) -> str | None:
    """The device that DCGM speaks of."""
    host, gpu = labels.get("Hostname"), labels.get("gpu")
    return None if gpu is None or "UUID" not in labels else f"{host or 'host'}/gpu{gpu}"


def together(samples: Iterable[MetricSample]) -> dict[Series, float]:
    """Series -> value of all its samples put together, as its metric wants it."""
    grouped: dict[Series, list[MetricSample]] = collections.defaultdict(list)
    for sample in samples:
        grouped[sample.series].append(sample)
    return {series: _joined(members) for series, members in grouped.items()}


def _joined(members: list[MetricSample]) -> float:
    once = list(_once_a_rank(members))
    if members[0].over == LARGEST:
        return max(once)
    return sum(once) / len(once) if members[0].over == MEAN else sum(once)


def _once_a_rank(members: list[MetricSample]) -> Iterator[float]:
    """The values of the members, those of several ranks of one engine as their largest."""
    ranks: dict[tuple[str, ...], float] = {}
    for member in members:
        key = tuple(part for part in member.identity if not part.startswith(tuple(f"{label}=" for label in RANK_LABELS)))
        ranks[key] = max(member.value, ranks.get(key, member.value))
    yield from ranks.values()


def _by_metric(samples: Iterable[MetricSample]) -> dict[str, float]:
    one = MetricPage(tuple(samples)).as_one()
    return {series.metric: value for series, value in together(one.samples).items()}

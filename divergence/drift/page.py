"""`drift.html`: the green dashboard beside the couplings that changed, in one self-contained file."""

from __future__ import annotations

import dataclasses
import importlib.resources

import jinja2
import numpy as np
from markupsafe import Markup

from divergence.drift import figures
from divergence.drift.attribution import Split
from divergence.drift.bridges import bridges, flips_headline
from divergence.drift.layout import FAMILIES
from divergence.drift.monitor import Monitor
from divergence.drift.topology import chosen, strengths
from divergence.drift.verdict import NONE, Edge, Verdict

LIMITS = 3.0
"""Spreads between reference chunks at which a dashboard draws its control limits (Shewhart)."""
MOST_EDGES = 12
"""Edges of each family in the table of a page; the JSON has up to 20."""
MOST_TILES = 18
"""Control charts on a page; the signals of changed edges come first."""


@dataclasses.dataclass(frozen=True)
class Tile:
    """One control chart."""

    name: str
    """The signal."""
    chart: Markup
    """Its SVG."""
    outside: int
    """Chunks of the stream outside the limits."""
    chunks: int
    """Chunks of the stream."""
    now: str
    """Mean of the reference and of the stream, in words."""


def page(monitor: Monitor, verdict: Verdict, splits: tuple[Split, ...] = (), notes: tuple[str, ...] = ()) -> str:
    """The page as HTML."""
    source = importlib.resources.files("divergence.drift").joinpath("page.html.j2").read_text("utf-8")
    template = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined).from_string(source)
    begin = monitor.begin(verdict.alarms[0].family)[0] if verdict.alarms else None
    tiles = _tiles(monitor, verdict, begin)
    before, after = _graphs(monitor, verdict, begin)
    history = monitor.history
    curves = {family: history.evidence[:, number] for number, family in enumerate(FAMILIES)}
    alarms = {a.family: int(np.searchsorted(history.number, a.chunk)) for a in verdict.alarms}
    quiet = sum(tile.outside <= 1 for tile in tiles)
    return template.render(
        verdict=verdict,
        none=verdict.verdict == NONE,
        flips=flips_headline(verdict),
        tiles=tiles,
        quiet=quiet,
        before=Markup(before),
        after=Markup(after),
        evidence=Markup(figures.evidence(history.end, curves, verdict.threshold, alarms)) if len(history.end) else "",
        edges=_listed(verdict),
        splits=splits,
        bridges=bridges(verdict),
        notes=(*verdict.notes, *notes),
    )


def _listed(verdict: Verdict) -> list[Edge]:
    """The edges of the table: of each family the first, settled or with evidence."""
    return [
        edge
        for family in reversed(FAMILIES)
        for edge in [e for e in verdict.edges if e.family == family and (e.settled or e.log_e > 0)][:MOST_EDGES]
    ]


def _tiles(monitor: Monitor, verdict: Verdict, begin: int | None) -> list[Tile]:
    reference, history = monitor.reference, monitor.history
    series = {
        name: np.concatenate([reference.margins[:, n], history.margins[:, n]]).astype(float)
        for n, name in enumerate(reference.layout.numeric)
    }
    for number, statistic in enumerate(monitor.statistics):
        if statistic.kind == "share":
            arc = np.concatenate([reference.values[:, number], history.values[:, number]]).astype(float)
            series[f"share of {statistic.a} {statistic.detail}"] = np.sin(np.clip(arc, 0, np.pi / 2)) ** 2
    touched = [name for edge in verdict.edges if edge.settled for name in (edge.a, edge.b) if name]
    order = sorted(series, key=lambda name: min((touched.index(t) for t in touched if t in name), default=len(touched)))
    m = len(reference.values)
    change = None if begin is None else m + int(np.searchsorted(history.number, begin)) - 0.5
    return [_tile(name, series[name], m, change) for name in order[:MOST_TILES]]


def _tile(name: str, series: np.ndarray, m: int, change: float | None) -> Tile:
    past, now = series[:m], series[m:]
    known = past[np.isfinite(past)]
    middle, spread = (float(known.mean()), float(known.std(ddof=1))) if len(known) > 1 else (0.0, 0.0)
    low, high = middle - LIMITS * spread, middle + LIMITS * spread
    outside = int(((now < low) | (now > high)).sum())
    mean = float(np.nanmean(now)) if np.isfinite(now).any() else float("nan")
    words = f"{middle:.3g} -> {mean:.3g}"
    return Tile(name, Markup(figures.tile(series, m, low, high, change, f"{name}: {words}")), outside, len(now), words)


def _graphs(monitor: Monitor, verdict: Verdict, begin: int | None) -> tuple[str, str]:
    names, before, after = strengths(monitor, begin)
    edges = {frozenset((e.a, e.b)): e for e in verdict.edges if e.b and e.settled and e.family == "structural"}
    places = chosen(names, before, after, {name for pair in edges for name in pair})
    kept = [names[place] for place in places]
    grid = np.ix_(places, places)
    sides = []
    for matrix, title in ((before, "couplings before"), (after, "couplings since")):
        words = {pair: f"{e.before:.2f} -> {e.after:.2f}" for pair, e in edges.items() if pair <= set(kept)}
        sides.append(figures.graph(kept, matrix[grid], words, title))
    return sides[0], sides[1]

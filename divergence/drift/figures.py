"""The figures of the page, as inline SVG whose colours are the page's own variables (light and dark)."""

from __future__ import annotations

import html
import math

import numpy as np

from divergence.drift.ordering import shown


def _points(x: np.ndarray, y: np.ndarray) -> str:
    return " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True) if np.isfinite(b))


def _number(value: float) -> str:
    return f"{value:.3g}" if abs(value) < 10_000 else f"{value:,.0f}"


def tile(series: np.ndarray, reference: int, low: float, high: float, change: float | None, label: str) -> str:
    """A control chart: chunk means in time, the limits of the reference, and where the change lies (a place, or None)."""
    width, height, pad = 240.0, 74.0, 6.0
    known = series[np.isfinite(series)]
    if not len(known):
        return ""
    bottom, top = min(low, known.min()), max(high, known.max())
    reach = max(top - bottom, 1e-12)

    def across(place: np.ndarray | float) -> np.ndarray:
        return pad + np.asarray(place) * (width - 2 * pad) / max(len(series) - 1, 1)

    def up(value: np.ndarray | float) -> np.ndarray:
        return height - pad - (np.asarray(value) - bottom) / reach * (height - 2 * pad)

    place = np.arange(len(series))
    outside = np.isfinite(series) & ((series < low) | (series > high)) & (place >= reference)
    marks = "".join(
        f'<circle cx="{across(float(p)):.1f}" cy="{up(series[p]):.1f}" r="2.6" class="out"/>'
        for p in np.flatnonzero(outside)
    )
    line = (
        ""
        if change is None
        else f'<line x1="{across(change):.1f}" x2="{across(change):.1f}" y1="0" y2="{height}" class="cut"/>'
    )
    return (
        f'<svg viewBox="0 0 {width:.0f} {height:.0f}" role="img" aria-label="{html.escape(label)}">'
        f'<rect x="{pad}" width="{width - 2 * pad}" y="{up(high):.1f}" '
        f'height="{max(up(low) - up(high), 0):.1f}" class="limits"/>'
        f'<rect x="{pad}" width="{max(across(reference - 0.5) - pad, 0):.1f}" y="0" height="{height}" class="past"/>'
        f'{line}<polyline points="{_points(across(place), up(series))}" class="trace"/>{marks}</svg>'
    )


def graph(names: list[str], strength: np.ndarray, changed: dict[frozenset[str], str], title: str) -> str:
    """Signals on a circle, an edge for each coupling of .15 and more; `changed` edges are marked, with a word each."""
    size, radius = 420.0, 120.0
    middle = size / 2
    angle = np.arange(len(names)) * 2 * math.pi / max(len(names), 1) - math.pi / 2
    x, y = middle + radius * np.cos(angle), middle + radius * np.sin(angle)
    lines, labels = [], []
    for i in range(len(names)):
        for j in range(i + 1, len(names)):
            pair, value = frozenset((names[i], names[j])), strength[i, j]
            mark = pair in changed
            if mark or (np.isfinite(value) and abs(value) >= 0.15):
                thick = 1 + 5 * min(abs(np.nan_to_num(value)), 1)
                kind = "changed" if mark else "steady"
                dash = ' stroke-dasharray="5 4"' if np.nan_to_num(value) < 0 else ""
                words = html.escape(f"{names[i]} with {names[j]}: {changed.get(pair, _number(float(value)))}")
                lines.append(
                    f'<line x1="{x[i]:.1f}" y1="{y[i]:.1f}" x2="{x[j]:.1f}" y2="{y[j]:.1f}" class="{kind}" '
                    f'stroke-width="{thick:.1f}"{dash}><title>{words}</title></line>'
                )
    touched = {name for pair in changed for name in pair}
    for name, a, px, py in zip(names, angle, x, y, strict=True):
        side = "middle" if abs(math.cos(a)) < 0.25 else "start" if math.cos(a) > 0 else "end"
        drop = 4 + 14 * math.sin(a) if side == "middle" else 4
        bold = ' class="hot"' if name in touched else ""
        labels.append(
            f'<circle cx="{px:.1f}" cy="{py:.1f}" r="5" class="node{" hot" if name in touched else ""}"/>'
            f'<text x="{px + 10 * math.cos(a):.1f}" y="{py + drop:.1f}" text-anchor="{side}"{bold}>'
            f"{html.escape(_short(name))}</text>"
        )
    lines.sort(key=lambda line: "changed" in line)
    return (
        f'<svg viewBox="-45 55 {size + 90:.0f} {size - 110:.0f}" role="img" aria-label="{html.escape(title)}">'
        f"{''.join(lines)}{''.join(labels)}</svg>"
    )


def _short(name: str) -> str:
    return name if len(name) <= 18 else name[:8] + "…" + name[-9:]


def evidence(end: np.ndarray, curves: dict[str, np.ndarray], threshold: float, alarms: dict[str, int]) -> str:
    """Log evidence of each family after each chunk, the threshold, and a mark where it was passed."""
    width, height, left, bottom = 760.0, 240.0, 44.0, 26.0
    values = np.concatenate([np.maximum(curve, -2.0) for curve in curves.values()])
    top = max(float(values.max(initial=0.0)), threshold * 1.4)
    count = len(end)

    def across(place: np.ndarray | float) -> np.ndarray:
        return left + np.asarray(place) * (width - left - 10) / max(count - 1, 1)

    def up(value: np.ndarray | float) -> np.ndarray:
        return height - bottom - (np.maximum(value, -2.0) + 2.0) / (top + 2.0) * (height - bottom - 8)

    parts = [
        f'<line x1="{left}" x2="{width - 10}" y1="{up(threshold):.1f}" y2="{up(threshold):.1f}" class="threshold"/>'
        f'<text x="{width - 12}" y="{up(threshold) - 5:.1f}" text-anchor="end" class="small">'
        f"alarm: log(1/alpha) = {threshold:.2f}</text>"
    ]
    for value in np.linspace(0, top, 4)[:-1]:
        parts.append(f'<text x="{left - 8}" y="{up(value) + 4:.1f}" text-anchor="end" class="small">{value:.0f}</text>')
    for name, curve in curves.items():
        parts.append(f'<polyline points="{_points(across(np.arange(count)), up(curve))}" class="curve {name}"/>')
        if name in alarms and 0 <= alarms[name] < count:
            place = alarms[name]
            parts.append(f'<circle cx="{across(place):.1f}" cy="{up(curve[place]):.1f}" r="5" class="dot {name}"/>')
    if count:
        parts.append(f'<text x="{left}" y="{height - 6}" class="small">{shown(end[0])}</text>')
        parts.append(f'<text x="{width - 10}" y="{height - 6}" text-anchor="end" class="small">{shown(end[-1])}</text>')
    return (
        f'<svg viewBox="0 0 {width:.0f} {height:.0f}" role="img" aria-label="log evidence over time">{"".join(parts)}</svg>'
    )

"""A plan as one small page: no script, no font, no address, nothing to load. Everything from a log is escaped.

First what the budget buys, then the curve of width or regret over the budget (planned against equal shares, with the
floor), then what to ask, what else there is to buy, and what the noise is made of.
"""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

from divergence.planning import words

if TYPE_CHECKING:
    from divergence.planning.result import MeasurementPlan

STYLE = """
:root{--ink:#1d232b;--muted:#5a6573;--faint:#e3e7ec;--paper:#fff;--gain:#1a63a8;--neutral:#77818e;--floor:#b4500e}
@media(prefers-color-scheme:dark){:root{--ink:#e5e9ee;--muted:#9ba7b4;--faint:#2d343d;--paper:#15191e;--gain:#69b1f2;
--neutral:#8b97a5;--floor:#f09a5b}}
body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.45 system-ui,sans-serif}
main{max-width:60rem;margin:0 auto;padding:1.2rem 1rem 3rem}
h1{font-size:1.3rem;margin:.2rem 0 .6rem}h2{font-size:1.1rem;margin:1.8rem 0 .4rem}
p{margin:.3rem 0}ul{margin:.3rem 0;padding-left:1.2rem}.muted{color:var(--muted)}
.wide{overflow-x:auto}table{border-collapse:collapse;width:100%}th,td{text-align:left;padding:.25rem .6rem .25rem 0;
vertical-align:top;border-top:1px solid var(--faint);overflow-wrap:anywhere}th{font-weight:600;border-top:0}
td.n,th.n{text-align:right;white-space:nowrap;overflow-wrap:normal}svg{display:block;width:100%;height:auto;max-width:44rem}
svg text{fill:var(--muted);font-size:13px}
"""
WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT = 700, 300, 70, 44, 14, 20  # px of the curve
EQUAL = "stroke='var(--neutral)' stroke-width='2' stroke-dasharray='6 4'"
PLANNED = "stroke='var(--gain)' stroke-width='3'"
ROWS = 40  # of a table: plan.json holds all


def page(plan: MeasurementPlan) -> str:
    """The text of `plan.html`."""
    return (
        "<!doctype html>\n<html lang='en'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width,initial-scale=1'>"
        f"<title>{_safe(words.headline(plan))}</title><style>{STYLE}</style></head><body><main>{fragment(plan)}"
        f"{_parts(plan)}</main></body></html>\n"
    )


def fragment(plan: MeasurementPlan) -> str:
    """Headline, curve, and tables, for a notebook."""
    notes = "".join(f"<li>{_safe(note)}</li>" for note in plan.notes)
    return (
        f"<h1>{_safe(words.headline(plan))}.</h1>{curve(plan)}"
        f"<p class='muted'>Floor: a width of {plan.floor:.3g}; {_safe(plan.floor_why)}.</p>"
        f"{_cells(plan)}{_moves(plan)}" + (f"<h2>To be known</h2><ul>{notes}</ul>" if notes else "")
    )


def curve(plan: MeasurementPlan) -> str:
    """Width or regret over the budget as an SVG, with its sentence."""
    points = [p for p in plan.curve if p["planned"] is not None and p["equal"] is not None]
    reach = max(float(p["cost"] or 0) for p in points) or 1.0
    highest = 1.08 * max(max(float(p[k] or 0) for k in ("planned", "equal")) for p in points) or 1.0

    def at(cost: float, value: float) -> tuple[float, float]:
        x = LEFT + (WIDTH - LEFT - RIGHT) * cost / reach
        return round(x, 1), round(HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * value / highest, 1)

    def line(key: str, style: str) -> str:
        path = " ".join("{},{}".format(*at(float(p["cost"] or 0), float(p[key] or 0))) for p in points)
        return f"<polyline fill='none' points='{path}' {style}/>"

    ticks = ""
    for k in range(5):
        cost, value = reach * k / 4, highest * k / 4
        x, y = at(cost, value)
        ticks += f"<text x='{x}' y='{HEIGHT - BOTTOM + 18}' text-anchor='middle'>{_number(cost)}</text>"
        ticks += f"<text x='{LEFT - 8}' y='{y + 4}' text-anchor='end'>{value:.3g}</text>"
        ticks += f"<line x1='{LEFT}' x2='{WIDTH - RIGHT}' y1='{y}' y2='{y}' stroke='var(--faint)'/>"
    floor = ""
    if not plan.decides and plan.floor > 0:
        y = at(0, plan.floor)[1]
        floor = f"<line x1='{LEFT}' x2='{WIDTH - RIGHT}' y1='{y}' y2='{y}' stroke='var(--floor)' stroke-dasharray='2 4'/>"
        floor += f"<text x='{WIDTH - RIGHT}' y='{y - 5}' text-anchor='end'>floor {plan.floor:.3g}</text>"
    x = at(plan.budget, 0)[0]
    budget = f"<line x1='{x}' x2='{x}' y1='{TOP}' y2='{HEIGHT - BOTTOM}' stroke='var(--muted)' stroke-dasharray='1 3'/>"
    name = "expected regret" if plan.decides else "mean width of 90 % intervals"
    last = points[-1]
    labels = "".join(
        f"<text x='{WIDTH - RIGHT}' y='{at(reach, float(last[key] or 0))[1] + shift}' text-anchor='end'>{label}</text>"
        for key, label, shift in (("planned", "planned", 16), ("equal", "equal shares", -7))
    )
    told = f"planned {last['planned']:.3g} and equal shares {last['equal']:.3g} at {_number(reach)}"
    title = f"{name} over {plan.budget_unit}: {told}"
    return (
        f"<svg viewBox='0 0 {WIDTH} {HEIGHT}' role='img'><title>{_safe(title)}</title>{ticks}{floor}{budget}"
        f"{line('equal', EQUAL)}{line('planned', PLANNED)}{labels}"
        f"<text x='{(LEFT + WIDTH) / 2}' y='{HEIGHT - 6}' text-anchor='middle'>{plan.budget_unit}</text></svg>"
        f"<p class='muted'>{name[0].upper()}{name[1:]} ({_safe(plan.unit)}) over the budget: planned (solid) against equal "
        "shares (dashed). The dotted line stands at the budget.</p>"
    )


def _cells(plan: MeasurementPlan) -> str:
    cells = plan.designs[0].cells
    rows = "".join(
        f"<tr><td>{_safe(c.model)}</td><td>{_safe(c.context)}</td><td>{c.regime}</td><td class='n'>{c.items:,}</td>"
        f"<td class='n'>{c.trials}</td><td>{'new' if c.new_items else 'asked before'}</td></tr>"
        for c in cells[:ROWS]
    )
    more = f"<p class='muted'>{len(cells) - ROWS} more are in plan.json.</p>" if len(cells) > ROWS else ""
    first = plan.designs[0]
    told = f"A later fit's width lies between {first.width_lower:.3g} and {first.width_upper:.3g} with 90 %."
    head = "<tr><th>model<th>context<th>regime<th class='n'>items<th class='n'>trials<th>which"
    body = f"<div class='wide'><table><thead>{head}</thead><tbody>{rows}</tbody></table></div>"
    return f"<h2>Ask next</h2><p>{told}</p>{body}{more}"


def _moves(plan: MeasurementPlan) -> str:
    rows = "".join(
        f"<tr><td>{m.kind}</td><td>{_safe(m.what)}</td><td class='n'>{m.amount:,}</td><td class='n'>{m.requests:,}</td>"
        f"<td class='n'>{_or_nothing(m.usd)}</td><td class='n'>{m.gain:.3g}</td><td class='n'>{_or_nothing(m.width)}</td>"
        f"<td class='n'>{_or_nothing(m.regret)}</td></tr>"
        for m in plan.moves
    )
    names = ("amount", "requests", "USD", "gain", "width after", "regret after")
    head = "<tr><th>kind<th>what" + "".join(f"<th class='n'>{name}" for name in names)
    return (
        "<h2>What there is to buy, one thing at a time</h2><div class='wide'><table>"
        f"<thead>{head}</thead><tbody>{rows}</tbody></table></div>"
    )


def _parts(plan: MeasurementPlan) -> str:
    """What the noise of every level is made of, as standard deviations per item."""
    rows = ""
    for part in plan.parts[:ROWS]:
        noise = [part[name] for name in ("shared", "own", "replicate", "session")]
        told = ["not known" if v is None else f"{float(v) ** 0.5:.3f}" for v in noise]
        cells = "".join(f"<td class='n'>{word}</td>" for word in told)
        rows += f"<tr><td>{_safe(part['model'])}</td><td>{_safe(part['context'])}</td>"
        rows += f"<td class='n'>{part['items']:,}</td>{cells}</tr>"
    names = ("items", "shared by contexts", "the context's own", "replicates", "sessions")
    head = "<tr><th>model<th>context" + "".join(f"<th class='n'>{name}" for name in names)
    return (
        "<h2>What the noise is made of</h2><p>Standard deviations of one item's score: new items shrink all of "
        "them, further "
        "trials the replicates' part only.</p><div class='wide'><table>"
        f"<thead>{head}</thead><tbody>{rows}</tbody></table></div>"
    )


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.3g}"


def _or_nothing(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"


def _safe(text: object) -> str:
    return html.escape(str(text).encode("utf-8", "replace").decode("utf-8"))

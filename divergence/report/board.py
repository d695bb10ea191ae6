"""The leaderboard under the deployment law in words and one table: who is first, what is tied, who was never deployed."""

from __future__ import annotations

import dataclasses
import re

import polars as pl

from divergence.estimate import INTERVAL, Estimate
from divergence.orders import first, first_of
from divergence.report.content import PageContent
from divergence.report.names import short, spoken
from divergence.report.words import (
    brief_chance,
    capital,
    chance,
    decimal,
    decimals,
    join,
    phrase,
    plural,
    scale,
    span,
    verb,
)

SHOWN = 20  # places of the table on the page; a text has MOST_WRITTEN
MOST_WRITTEN = 100
FULL = 200  # characters of a name in a text: whole
NAME = 44  # characters of a name in the table
BEYOND = "if the line of the others goes on: its bench level {lies} outside theirs"
WIDE = 9  # models from which on the leaderboard's sentence heads the page: below, pairs of neighbours say more
MARKS = {"forecast": "forecast", "partly forecast": "partly forecast"}


@dataclasses.dataclass(frozen=True)
class Board:
    """What the leaderboard comes to."""

    headline: str
    """Who is first under the law, in one sentence."""
    sentences: tuple[str, ...]
    """The size of the first group, candidates and incumbents, what the bench alone says."""
    rows: pl.DataFrame
    """One row a model, best first: `place, model, name, mark, group, level, lower, upper, rank_low, rank_high, p_first,
    p_top, bench, bench_rank`, and a place under every what-if."""
    top: str
    """How many places `p_top` is about."""
    unit: str
    """Unit of the levels."""
    what_ifs: tuple[str, ...] = ()
    """Names of the other laws."""
    leads: bool = False
    """Does its sentence head the page: many models, one that was never deployed, or no bench to compare with?"""


def board(content: PageContent) -> Board | None:
    """The board of a page; None where the log has no leaderboard."""
    answer = content.answer("leaderboard")
    if answer is None:
        return None
    frame, what_ifs, top = _rows(answer)
    candidates = frame.filter(pl.col("mark") == "forecast")
    leads = frame.height >= WIDE or candidates.height > 0 or content.answer("bench_level") is None
    unit = answer.unit
    return Board(_headline(frame), _sentences(content, answer, frame), frame, top, unit, what_ifs, leads)


def incumbents(answer: Estimate) -> tuple[str, ...]:
    """The models that run now, as the answer's text names them; a name may itself hold commas, semicolons and brackets."""
    _, found, rest = answer.text.partition("(the incumbent is ")
    models = sorted(set(answer.rows["model"].drop_nulls()), key=len, reverse=True)
    told: list[str] = []
    while found:
        name = next((m for m in models if rest.startswith(m) and rest[len(m) :].startswith((", ", "; ", ")"))), None)
        if name is None:
            break
        told.append(name)
        found, rest = rest[len(name) :].startswith(", "), rest[len(name) + 2 :]
    return tuple(told)


def _rows(answer: Estimate) -> tuple[pl.DataFrame, tuple[str, ...], str]:
    table = answer.to_frame().filter(pl.col("identified"))
    plain = table.filter(pl.col("factor").is_null())
    level = plain.filter(pl.col("statistic").is_null())
    running = incumbents(answer)
    names = spoken(level["model"])
    frame = level.select(
        "model", pl.col("axis").alias("mark"), level=pl.col("median"), lower="lower", upper="upper", mean="mean"
    ).with_columns(
        place=pl.int_range(1, level.height + 1),
        name=pl.Series([names[m] for m in level["model"]], dtype=pl.String),
        incumbent=pl.col("model").is_in(list(running)),
    )
    parts = {
        "rank": {"rank": "median", "rank_low": "lower", "rank_high": "upper"},
        "tied_group": {"group": "median"},
        "p_first": {"p_first": "mean"},
        "p_top": {"p_top": "mean"},
        "bench": {"bench": "median", "bench_lower": "lower", "bench_upper": "upper"},
        "bench_rank": {"bench_rank": "median", "bench_rank_low": "lower", "bench_rank_high": "upper"},
    }
    for statistic, columns in parts.items():
        mine = plain.filter(pl.col("statistic") == statistic)
        frame = frame.join(mine.select("model", **{k: pl.col(v) for k, v in columns.items()}), on="model", how="left")
    moved = table.filter(pl.col("statistic") == "what_if_rank")
    what_ifs = tuple(moved["level"].unique(maintain_order=True))
    for k, name in enumerate(what_ifs):
        mine = moved.filter(pl.col("level") == name)
        frame = frame.join(mine.select("model", pl.col("median").alias(f"law_{k}")), on="model", how="left")
    tops = plain.filter(pl.col("statistic") == "p_top")["level"]
    return frame.sort("place"), what_ifs, tops[0] if tops.len() else ""


def _headline(frame: pl.DataFrame) -> str:
    """Who is first under the law, and who is tied with it: the models of its group, where it opens the group."""
    marks = {"forecast": " (a forecast)", "partly forecast": " (partly a forecast)"}
    names = [name + marks.get(mark, "") for name, mark in frame.select("name", "mark").iter_rows()]
    found = first_of(frame["p_first"].to_numpy())
    told = f"Under the deployment law {found.told(names, 'first')}"
    others = frame.filter(pl.col("group") == 1)["name"].to_list()[1:]
    if found.settled or found.open or found.at or not others:
        return f"{told}."
    listed = join(others, 3) if len(others) <= 4 else f"{len(others)} others"
    return f"{told}; it is tied with {listed}."


def _sentences(content: PageContent, answer: Estimate, frame: pl.DataFrame) -> tuple[str, ...]:
    """Groups; what the bench alone says; candidates against what runs now."""
    groups = frame["group"].n_unique()
    told = [
        f"{capital(plural(frame.height, 'model'))} fall into {plural(groups, 'group')}: a group is a model and those next "
        f"below that it does not beat with {INTERVAL:.0%}."
    ]
    known = frame.drop_nulls("bench_rank").sort("bench_rank")
    if known.height > 1:
        ranks = answer.where(statistic="bench_rank", factor=None).known()
        found = first(ranks.draws, highest=False)
        lead = known.filter(pl.col("model") == ranks.rows["model"][found.at]).row(0, named=True)
        alone = found.told(known_names(ranks, frame), "first of these on the bench", start=True)
        told.append(f"{alone}." if found.open else f"{alone}; its place here has an interval of {_places(lead)}.")
    partly = frame.filter(mark="partly forecast")["name"].to_list()
    if partly:
        told.append(
            f"{join(partly, 3)} {verb(len(partly), 'was', 'were')} not served in every context of the law: what "
            f"{verb(len(partly), 'its level', 'their levels')} would be there is a forecast."
        )
    told += _candidates(content, frame)
    same = re.findall(r"[^;()]+ differ only in case, blanks, provider or date [^;()]*", answer.text)
    told += [part.strip().rstrip(".") + "." for part in same]
    return tuple(told)


def known_names(ranks: Estimate, frame: pl.DataFrame) -> list[str]:
    """The names of the models of these rows, as the board says them."""
    names = dict(frame.select("model", "name").iter_rows())
    return [names[model] for model in ranks.rows["model"]]


def _places(row: dict) -> str:
    """The interval of a place.

    >>> _places({"rank_low": 2.0, "rank_high": 3.0}), _places({"rank_low": 1.0, "rank_high": 1.0})
    ('place 2 to 3', 'place 1')
    """
    low, high = (f"{row[name]:.0f}" for name in ("rank_low", "rank_high"))
    return f"place {low}" + (f" to {high}" if high != low else "")


def lies(probability: float) -> str:
    """How surely it is said that a bench level lies outside the others' range."""
    return "lies" if probability >= INTERVAL else "probably lies"


def _candidates(content: PageContent, frame: pl.DataFrame) -> list[str]:
    """Each forecast model against every incumbent."""
    answer = content.answer("forecast")
    if answer is None:
        return []
    rows = answer.to_frame().filter(pl.col("identified"))
    beats = rows.filter(pl.col("statistic") == "beats").sort("mean", descending=True)
    levels = rows.filter(pl.col("statistic").is_null(), pl.col("context").is_null())
    outside = dict(rows.filter(pl.col("statistic") == "outside", pl.col("mean") > 0.5).select("model", "mean").iter_rows())
    names = spoken(frame["model"])
    told = []
    for row in beats.head(3).iter_rows(named=True):
        level = levels.filter(pl.col("model") == row["model"]).row(0, named=True)
        told.append(
            f"{names.get(row['model'], row['model'])} was never deployed: {phrase(level)} is forecast, and it beats "
            f"{names.get(row['model_b'], row['model_b'])} with a probability of {chance(row['mean'])}"
            + (f", {BEYOND.format(lies=lies(outside[row['model']]))}." if row["model"] in outside else ".")
        )
    more = beats.height - 3
    return [*told, f"{plural(more, 'further comparison')} under Candidates."] if more > 0 else told


def chosen(rows: pl.DataFrame, count: int) -> pl.DataFrame:
    """The first places, and below them every incumbent and candidate."""
    kept = (pl.col("place") <= count) | pl.col("incumbent") | (pl.col("mark") == "forecast")
    return rows.filter(kept).head(2 * count)


def written(shown: Board, count: int = MOST_WRITTEN, width: int = FULL) -> tuple[pl.DataFrame, dict[str, str], list[str]]:
    """The table's texts, its headings, and which columns are numbers."""
    rows = chosen(shown.rows, count)
    factor = scale(shown.unit)
    names = short(rows["model"], width)
    sizes = shown.rows.group_by("group", maintain_order=True).agg(pl.col("place").min().alias("first"), pl.len())
    bands = {
        g: f"Group {int(g)}: {f'places {a} to {a + n - 1}, not told apart' if n > 1 else f'place {a}'}"
        for g, a, n in sizes.iter_rows()
    }
    columns: dict[str, list[str]] = {name: [] for name in ("group", "model", "place", "level", "first", "top", "bench")}
    for row in rows.iter_rows(named=True):
        marks = [MARKS[row["mark"]]] if row["mark"] in MARKS else []
        marks = ["incumbent", *marks] if row["incumbent"] else marks
        count = decimals(row["upper"] - row["lower"], shown.unit)
        columns["group"].append(bands[row["group"]])
        columns["model"].append(names[row["model"]] + (f" ({', '.join(marks)})" if marks else ""))
        columns["place"].append(f"{row['place']} ({row['rank_low']:.0f} to {row['rank_high']:.0f})")
        columns["level"].append(f"{decimal(row['level'] * factor, count)} ({span(row['lower'], row['upper'], shown.unit)})")
        columns["first"].append(brief_chance(row["p_first"]))
        columns["top"].append(brief_chance(row["p_top"]))
        bench, place = row["bench"], row["bench_rank"]
        columns["bench"].append("" if bench is None else f"{place:.0f} ({decimal(bench * factor, count)})")
    labels = {
        "group": "group",
        "model": "model",
        "place": "place",
        "level": "level" + (", %" if shown.unit == "probability" else f", {shown.unit}"),
        "first": "is first",
        "top": f"in first {shown.top}",
        "bench": "on the bench",
    }
    for k, name in enumerate(shown.what_ifs):
        columns[f"law_{k}"] = ["" if v is None else f"{v:.0f}" for v in rows[f"law_{k}"]]
        labels[f"law_{k}"] = f"place if {name}"
    if not any(columns["bench"]):
        del columns["bench"], labels["bench"]
    return pl.DataFrame(columns), labels, [c for c in columns if c not in ("group", "model")]


def caption(shown: Board, count: int) -> str:
    """What the numbers of the table are."""
    hidden = shown.rows.height - chosen(shown.rows, count).height
    text = (
        f"Median and {INTERVAL:.0%} interval of level and place. A group is a model and those next below that it "
        f"does not beat with {INTERVAL:.0%}; one further down that is known less well may still stand higher, as its "
        "places say."
    )
    return text + (f" {hidden:,} further models are in estimates.parquet." if hidden > 0 else "")

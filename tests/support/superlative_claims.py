"""What a page's superlatives claim, and the probability of each, computed anew from the draws of the answers.

Every superlative of a page has one of two forms, `WORD is [likeliest] WHO (P; ... may be)` and `WHO is [likeliest to be]
WORD (P; ... may be)`. `SOURCES` says what each WORD is about: the names of all that compete, and their draws. Nothing here
calls what the page calls to judge it.
"""

import dataclasses
import re
from collections import Counter

import numpy as np
import polars as pl

from divergence.report.names import factor_name, spoken

SURE = 0.9  # the stated probability, as the pages say it: that of the intervals
WORDS = (
    *("first", "best", "steadiest", "cheapest", "largest", "most", "worst", "least", "fastest", "likeliest", "highest"),
    *("lowest", "slowest", "smallest", "dearest", "clearest", "surest", "nearest", "farthest", "furthest", "fewest"),
    *("greatest", "longest", "shortest", "steepest", "strongest", "weakest", "leader", "leads", "ahead"),
)
SUPERLATIVE = re.compile(rf"\b({'|'.join(WORDS)})\b", re.IGNORECASE)
GRAMMAR = re.compile(r"\bat (?:the )?(?:least|most|first|best)\b|\bfirst token\b", re.IGNORECASE)
"""`At least` limits a number, and the first token is the one that comes before the others: no superlatives."""
COUNTED = "as counted"
OPEN = 0.2  # nobody is called the likeliest below
LIMIT = r"(?P<p>(?:less than )?\d+%)"
BRACKET = r"\((?P<p>(?:less than |more than )?\d+%)(?:; (?P<may>.+?) may be)?\)"


@dataclasses.dataclass(frozen=True)
class Claim:
    """One superlative of a page."""

    word: str
    who: str
    chance: str
    settled: bool
    of: int = 0
    """Of how many nobody is said to lead; 0 = somebody is named."""


def _units(content, section: str):
    """The answers that a section is about."""
    if section.startswith("outcome-"):
        return list(content.other_outcomes.values())[int(section.removeprefix("outcome-"))]
    return content.estimates


def _rows(estimate, **where):
    """Known rows with draws: frame and draws."""
    frame = estimate.to_frame().with_row_index("row").filter(pl.col("identified") & pl.col("median").is_not_null())
    for name, value in where.items():
        frame = frame.filter(pl.col(name).is_null() if value is None else pl.col(name).is_not_null())
    return frame, estimate.draws[:, frame["row"].to_numpy()]


def _plain(estimate, *kept):
    """Rows that only these coordinates and contexts tell apart."""
    frame, draws = _rows(estimate)
    others = {"statistic", "model", "model_b", "factor", "level", "task", "item", "axis"} - set(kept)
    keep = np.array([all(row[name] is None for name in others) for row in frame.iter_rows(named=True)], bool)
    return frame.filter(keep), draws[:, keep]


def _models(question):
    def source(answers, sentence):
        frame, draws = _plain(answers[question], "model")
        names, models = spoken(frame["model"]), frame["model"].to_list()
        if "judged in both" in sentence or re.search(r"of the \d+ in both", sentence):
            other = {"bench_level": "deployed_level", "deployed_level": "bench_level"}[question]
            both = set(_plain(answers[other], "model")[0]["model"])
            keep = [k for k, model in enumerate(models) if model in both]
            models, draws = [models[k] for k in keep], draws[:, keep]
        score = answers[question].unit in ("probability", "fraction")
        return [names[model] for model in models], draws if score else -draws

    return source


def _law(answers, _):
    frame, draws = _rows(answers["leaderboard"], statistic=None)
    names = spoken(frame["model"])
    marks = {"forecast": " (a forecast)"}
    score = answers["leaderboard"].unit in ("probability", "fraction")
    shown = [names[m] + marks.get(a, "") for m, a in frame.select("model", "axis").iter_rows()]
    return shown, draws if score else -draws


def _law_bench(answers, _):
    known, draws = _rows(answers["leaderboard"])
    keep = (known["statistic"] == "bench").fill_null(False).to_numpy()
    levels, _ = _rows(answers["leaderboard"], statistic=None)
    names = spoken(levels["model"])
    score = answers["leaderboard"].unit in ("probability", "fraction")
    return [names[m] for m in known.filter(keep)["model"]], draws[:, keep] * (1 if score else -1)


def _served(answers, _):
    frame, draws = _rows(answers["leaderboard"], statistic=None)
    keep = (frame["axis"] != "forecast").to_numpy()
    score = answers["leaderboard"].unit in ("probability", "fraction")
    return frame.filter(keep)["model"].to_list(), draws[:, keep] * (1 if score else -1)


def _kappa(sign):
    def source(answers, _):
        frame, draws = _plain(answers["kappa"], "model")
        bench = answers["bench_level"]
        score = bench if any(reason is None for reason in bench.reason) else answers["deployed_level"]
        shared = set(_plain(score, "model")[0]["model"])
        keep = [k for k, model in enumerate(frame["model"]) if model in shared]
        names = spoken([frame["model"][k] for k in keep])
        return [names[frame["model"][k]] for k in keep], sign * draws[:, keep]

    return source


def _place_names(frame):
    names = spoken(frame["model"].drop_nulls()) | spoken(frame["context"].drop_nulls())
    shown = [" in ".join(names[r[key]] for key in ("model", "context") if r[key]) for r in frame.iter_rows(named=True)]
    twice = {name for name, count in Counter(shown).items() if count > 1}
    return [
        f"{name} (bench)" if name in twice and regime == "evaluation" else name
        for name, regime in zip(shown, frame["regime"], strict=True)
    ]


def _cost(sign):
    def source(answers, _):
        frame, draws = _rows(answers["cost_per_success"], context=True)
        for statistic in (None, "tokens", "calls"):
            keep = frame["statistic"].eq_missing(pl.Series([statistic], dtype=pl.String)).to_numpy()
            if keep.any():
                return _place_names(frame.filter(keep)), sign * draws[:, keep]
        return [], draws

    return source


def _falls(answers, _):
    frame, draws = _rows(answers["pass_power"])
    power = frame["statistic"].str.extract(r"^pass\^(\d+)$", 1).cast(pl.Int64)
    places: dict[tuple, list[tuple[int, int]]] = {}
    for k, (row, x) in enumerate(zip(frame.iter_rows(named=True), power, strict=True)):
        if x is not None:
            places.setdefault((row["model"], row["context"], row["regime"]), []).append((x, k))
    lines = {place: sorted(of) for place, of in places.items() if len(of) > 1}
    falls = [draws[:, of[0][1]] - draws[:, of[-1][1]] for of in lines.values()]
    table = pl.DataFrame(list(lines), schema=dict.fromkeys(("model", "context", "regime"), pl.String), orient="row")
    return _place_names(table), np.stack(falls, 1)


def _hazards(answers, _):
    known, draws = _rows(answers["collapse_hazard"])
    lines = set(known.filter(pl.col("statistic") == "survival").select("model", "context", "regime").iter_rows())
    keep = [
        k
        for k, row in enumerate(known.iter_rows(named=True))
        if row["statistic"] is None and (row["model"], row["context"], row["regime"]) in lines
    ]
    return _place_names(known[keep]), draws[:, keep]


def _contexts(answers, _):
    frame, draws = _plain(answers["context_effect"], "model")
    there = frame["context"].is_not_null()
    over = there & frame["model"].is_null()
    keep = (over if over.any() else there).to_numpy()
    names = spoken(answers["context_effect"].rows["context"].drop_nulls())
    return [names[c] for c in frame.filter(keep)["context"]], np.abs(draws[:, keep])


def _cells(answers, _):
    frame, draws = _plain(answers["context_effect"], "model")
    keep = (frame["model"].is_not_null() & frame["context"].is_not_null()).to_numpy()
    names = spoken(answers["context_effect"].rows["context"].drop_nulls())
    frame = frame.filter(keep)
    models = spoken(sorted(frame["model"]))
    return [f"{models[m]} in {names[c]}" for m, c in frame.select("model", "context").iter_rows()], np.abs(draws[:, keep])


def _contrasts(answers, _):
    frame, draws = _rows(answers["context_effect"])
    keep = (frame["statistic"] == "contrast").fill_null(False).to_numpy() & frame["model"].is_null().to_numpy()
    frame, draws = frame.filter(keep), draws[:, keep]
    names = spoken([*frame["context"], *frame["context_b"]])
    turned = np.median(draws, 0) > 0
    shown = [
        f"{names[b]} minus {names[a]}" if turn else f"{names[a]} minus {names[b]}"
        for (a, b), turn in zip(frame.select("context", "context_b").iter_rows(), turned, strict=True)
    ]
    return shown, np.abs(draws)


def _factors(answers, _):
    frame, draws = _plain(answers["serving_effect"], "factor", "level", "axis")
    keep = frame["level"].is_not_null().to_numpy()
    shown = [
        f"{factor_name(factor)} {level}{f' ({axis})' if axis else ''}"
        for factor, level, axis in frame.filter(keep).select("factor", "level", "axis").iter_rows()
    ]
    return shown, np.abs(draws[:, keep])


def _gaps(answers, _):
    frame, draws = _plain(answers["gap"], "model")
    names = spoken(frame["model"])
    return [names[m] for m in frame["model"]], np.abs(draws)


def _waves(answers, _):
    frame, draws = _plain(answers["instrument"], "factor", "level")
    return [f"wave {wave}" for wave in frame["level"]], np.abs(draws)


def _flips(statistic):
    def source(answers, _):
        frame, draws = _rows(answers["excess_flips"], context_b=True)
        benches = set(frame.filter(pl.col("regime").is_null() | (pl.col("regime") != "evaluation"))["context"])
        deployed = set(frame.filter(pl.col("regime").is_null() | (pl.col("regime") != "evaluation"))["context_b"])
        labels, found, taken = benches - deployed, {}, set()
        for k, row in enumerate(frame.iter_rows(named=True)):
            of_bench = not labels or row["context"] in labels or row["regime"] == "evaluation"
            key = (row["model"], row["context"], row["context_b"])
            if row["statistic"] == statistic and of_bench and key not in taken:
                taken.add(key)
                found.setdefault(row["context_b"], []).append((row["model"], k))
        means = []
        for of in found.values():
            over = [k for model, k in of if model is None]
            means.append(draws[:, over or [k for _, k in of]].mean(1))
        names = spoken(found)
        return [names[c] for c in found], np.stack(means, 1)

    return source


def _ledger(answers, _):
    frame, draws = _rows(answers["cost_ledger"], factor=None)
    names = spoken(answers["cost_ledger"].to_frame()["model"].drop_nulls())
    names |= spoken(answers["cost_ledger"].to_frame()["context"].drop_nulls())
    return [f"{names[m]} in {names[c]}" for m, c in frame.select("model", "context").iter_rows()], np.abs(draws)


def _part(answers, _):
    from divergence.report.figures.ledger import PARTS, rows

    shown = rows(answers["cost_ledger"])
    parts = shown.filter(pl.col("factor").is_not_null())
    return [PARTS.get(f, f) for f in parts["factor"]], np.abs(answers["cost_ledger"].draws[:, parts["row"].to_numpy()])


def _choice(answers, _):
    known, draws = _rows(answers["best_combination"], context=True)
    keep = (known["statistic"] == "p_best").fill_null(False).to_numpy()
    frame = known.filter(keep)
    names = spoken(sorted(frame["model"])) | spoken(sorted(frame["context"]))
    return [f"{names[m]} in {names[c]}" for m, c in frame.select("model", "context").iter_rows()], draws[:, keep]


def _traffic(answers, sentence):
    law = re.search(r"^Over “(.+?)” ", sentence)
    frame, draws = _rows(answers["best_combination"], context=None)
    keep = (frame["statistic"] == "p_best").fill_null(False).to_numpy()
    keep &= frame["level"].eq_missing(pl.Series([law[1] if law else None], dtype=pl.String)).to_numpy()
    names = spoken(frame["model"].drop_nulls())
    return [names[m] for m in frame.filter(keep)["model"]], draws[:, keep]


def _lowest(answers, sentence):
    frame, draws = _rows(answers["forecast"], context=True)
    frame = frame.with_columns(place=pl.int_range(frame.height)).filter(pl.col("statistic").is_null())
    for (_,), mine in frame.group_by("model", maintain_order=True):  # the sentence stands under its candidate's name
        names = spoken(mine["context"])
        if any(f"{row['median'] * 100:.1f}%" in sentence for row in mine.iter_rows(named=True)):
            break
    return [f"in {names[c]}" for c in mine["context"]], -draws[:, mine["place"].to_numpy()]


SOURCES = {
    r"first on the bench(?: of the \d+ in both)?": _models("bench_level"),
    r"first in deployment(?: of the \d+ in both)?": _models("deployed_level"),
    r"first of these on the bench": _law_bench,
    r"first of those deployed": _served,
    r"first": _law,  # under the deployment law
    r"[Tt]he steadiest between deployment contexts": _kappa(-1),
    r"the least steady": _kappa(1),
    r"the dearest": _cost(1),
    r"[Tt]he cheapest": _cost(-1),
    r"the steepest": _falls,
    r"the fastest to break": _hazards,
    r"Furthest from the bench": _contexts,
    r"the largest": _cells,
    r"The largest difference": _contrasts,
    r"The largest effect": _factors,
    r"The largest change": _gaps,
    r"furthest from the mean over waves": _waves,
    r"most scores change where the context": _flips(None),
    r"most answers change where the context": _flips("answers"),
    r"the one that changed most": _ledger,
    r"Its largest part": _part,
    r"Its lowest level": _lowest,
    r"The best that meets everything": _choice,
    r"(?:Over .+ )?the best model for all traffic": _traffic,
}
"""What each superlative of a page is about. What is not here is no claim that a page may make."""
INDICATORS = {_choice, _traffic}  # their draws are shares of the first place


def claims(sentence: str) -> tuple[list[Claim], str]:
    """All claims of a sentence, and what is left of it without them."""
    found: list[Claim] = []
    left = sentence
    for word in sorted(SOURCES, key=len, reverse=True):
        forms = (
            rf"(?P<word>{word}) is (?P<likely>likeliest )?(?P<who>(?:(?! is ).)+?) {BRACKET}",
            rf"(?P<who>(?:(?! is |[;:] |, but ).)+?) is (?P<likely>likeliest to be )?(?P<word>{word}) {BRACKET}",
            rf"(?P<who>and) stays (?P<likely>)(?P<word>{word}) {BRACKET}",
        )
        for form in forms:
            for match in re.finditer(form, left):
                who = re.sub(r"^(?:.*(?:: |; |, but |judged in both, |deployment law )|but )", "", match["who"].strip())
                found.append(Claim(word, who.strip(), match["p"], not match["likely"]))
            left = re.sub(form, " ", left)
        for form in (
            rf"[Nn]o one leads \((?P<of>\d+) may be (?P<word>{word}), none with more than {LIMIT}\)(?P<who>)",
            rf"(?P<word>{word}) is open \((?P<of>\d+) may be it, none with more than {LIMIT}\), such as (?P<who>[^:.;]+)",
        ):
            found += [Claim(word, m["who"].strip(), m["p"], False, int(m["of"])) for m in re.finditer(form, left)]
            left = re.sub(form, " ", left)
    return found, left


def probability(text: str) -> tuple[float, float]:
    """The range of probabilities that the words of one stand for."""
    number = int(re.search(r"\d+", text).group()) / 100
    if "less" in text:
        return 0.0, number
    return (number, 1.0) if "more" in text else (number - 0.005, number + 0.005)


def chances(draws: np.ndarray) -> np.ndarray:
    """Probability of every column to be the largest: counted draw by draw, ties shared."""
    hits = draws == np.max(draws, axis=1)[:, None]
    return (hits / hits.sum(axis=1)[:, None]).sum(axis=0) / len(draws)


def _open_faults(claim: Claim, p: np.ndarray) -> list[str]:
    """What is wrong where nobody is said to lead: somebody does, or another number of them may be first."""
    low, high = probability(claim.chance)
    holding = int((np.cumsum(np.sort(p)[::-1]) < SURE - 1e-9).sum()) + 1
    told = (
        []
        if low - 1e-9 <= p.max() <= high + 1e-9
        else [f"none with more than {claim.chance}, and the draws say {p.max():.3f}"]
    )
    told += ["somebody leads"] if p.max() >= OPEN else []
    return told + ([] if holding == claim.of else [f"{claim.of} may be first, and the draws say {holding}"])


def faults(content, section: str, sentence: str) -> list[str]:
    """What a sentence says beyond the draws; empty where it holds."""
    if sentence.endswith("?"):
        return []
    found, left = claims(sentence)
    told = []
    for claim in found:
        names, draws = SOURCES[claim.word](_units(content, section), sentence)
        p = draws.mean(0) if SOURCES[claim.word] in INDICATORS else chances(draws)
        if claim.of:
            told += _open_faults(claim, p)
            continue
        known = dict(zip(names, p, strict=True))
        if claim.who != "and" and claim.who not in known:
            told.append(f"{claim.who!r} is none of {names}")
            continue
        mine = float(p.max()) if claim.who == "and" else float(known[claim.who])
        low, high = probability(claim.chance)
        if not low - 1e-9 <= mine <= high + 1e-9:
            told.append(f"{claim.who} with {claim.chance}, and the draws say {mine:.3f}")
        if claim.settled and mine < SURE:
            told.append(f"{claim.who} is said to be {claim.word!r} with {mine:.3f}")
        if not claim.settled and mine < p.max() - 1e-9:
            told.append(f"{claim.who} is not the likeliest: {mine:.3f} against {p.max():.3f}")
    denied = re.search(
        r"does not settle who is first|Who is first (on the bench|in deployment) (?:is not settled|cannot be told)", left
    )
    if denied:
        left = left.replace(denied.group(), " ")
        where = denied[1] or "on the bench"
        told += ["it is settled"] if any(claim.settled for claim in found if where in claim.word) else []
    if SUPERLATIVE.search(GRAMMAR.sub(" ", left)) and COUNTED not in left.lower():
        told.append("a superlative that states no probability")
    return [f"[{section}] {sentence}: {fault}" for fault in told]

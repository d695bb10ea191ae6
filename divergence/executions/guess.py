"""What the columns of a log that nobody described may be: the lines to write, offered and never assumed.

`divergence init` writes them into a `divergence.toml`, and an error shows them beside what was seen. They are tried before
they are offered: a guess under which the file would still be no execution log is not made.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import polars as pl

from divergence.configuration import Configuration
from divergence.errors import InputError
from divergence.executions.files import Source
from divergence.executions.names import ROW
from divergence.executions.schema import COLUMNS, SERVING_FACTORS
from divergence.executions.shaped import NO_VALUE, inner_names, nested

FLAGS_MAX = 90  # characters of flags that a sentence of 300 has room for
LOOKED_AT = 500  # rows of a file that are looked at
SYNONYMS: dict[str, tuple[str, ...]] = {
    "model": ("model", "modelname", "modelid", "llm", "system", "engine_model", "checkpoint", "requestmodel"),
    "item": ("item", "itemid", "questionid", "sampleid", "exampleid", "docid", "taskid", "promptid", "instanceid",
             "requestid", "problemid", "caseid", "id", "question", "uid"),
    "score": ("score", "correct", "iscorrect", "passed", "pass", "success", "successful", "accuracy", "acc", "exactmatch",
              "resolved", "reward", "solved", "right", "grade", "rating", "passrate", "thumbs", "feedback", "label",
              "result"),
    "context": ("context", "variant", "arm", "env", "environment", "stage", "deployment", "endpoint", "stack", "backend",
                "group", "config", "setup"),
    "latency_s": ("latencys", "latency", "latencyms", "durationms", "durations", "duration", "elapsedms", "elapsed",
                  "responsetime", "responsetimems", "e2elatencyms", "totaltimems", "latencyseconds"),
    "session": ("session", "sessionid", "conversation", "conversationid", "threadid"),
    "time": ("time", "timestamp", "createdat", "starttime", "startedat", "datetime"),
    "task": ("task", "benchmark", "suite", "dataset", "subject", "category"),
    "trial": ("trial", "attempt", "epoch", "repeat", "seed"),
    "input_tokens": ("inputtokens", "prompttokens", "tokensin"),
    "output_tokens": ("outputtokens", "completiontokens", "tokensout"),
    "cost_usd": ("costusd", "cost", "usd", "price"),
}  # fmt: skip
"""Canonical column -> how others call it, in small letters without signs; the likeliest first."""
WORLDS = ("regime", "split", "source", "phase", "mode", "env", "environment", "stage", "context", "origin")
BENCH = re.compile(r"^(e|eval|evals|evaluation|bench|benchmark|test|offline|ci|staging|dev)\b", re.IGNORECASE)
LIVE = re.compile(r"^(p|prod|production|live|deploy|deployed|deployment|online|serving|traffic)\b", re.IGNORECASE)
MEANINGS = {  # a text -> what it usually means as a score
    1.0: ("up", "yes", "good", "pass", "passed", "correct", "c", "right", "ok", "success", "positive", "win", "thumbs_up"),
    0.0: (
        "down",
        "no",
        "bad",
        "fail",
        "failed",
        "incorrect",
        "i",
        "wrong",
        "error",
        "failure",
        "negative",
        "loss",
        "thumbs_down",
    ),
}
SCALES = ((-1, 1), (0, 2), (0, 3), (0, 4), (1, 5), (0, 5), (1, 10), (0, 10), (0, 100))


@dataclasses.dataclass(frozen=True)
class Guess:
    """A configuration that may be meant."""

    table: dict
    """The configuration as a parsed TOML table; empty where nothing was recognised."""
    seen: dict[str, tuple[str, ...]]
    """Column (nested ones by their dotted name) -> the first values seen."""
    open: tuple[str, ...] = ()
    """What only the user can decide, as sentences."""

    @property
    def flags(self) -> str:
        """The same as flags of the command line; '' where flags cannot say it."""
        if not self.table or set(self.table) - {"outcome", "columns", "constants"}:
            return ""
        words = [f"--outcome {self.table['outcome']}"] if "outcome" in self.table else []
        words += [f"--map {_quoted(f'{k}={v}')}" for k, v in self.table.get("columns", {}).items()]
        words += [f"--set {_quoted(f'{k}={v}')}" for k, v in self.table.get("constants", {}).items()]
        return " ".join(words)

    @property
    def toml(self) -> str:
        """The same as lines of `divergence.toml`."""
        return "\n".join(toml_lines(self.table))


def nothing() -> Guess:
    """What is known of a log that needs no table: one of another tool."""
    return Guess({}, {})


def guess(source: Source) -> Guess:
    """What the columns of one file may be."""
    seen = _seen(source)
    columns = {name: found for name in SYNONYMS if (found := _named(name, seen))}
    taken = set(columns.values())
    table: dict = {}
    undecided: list[str] = []
    wide = _wide(columns, seen)
    if not wide and not {"score", "latency_s"} & set(columns):
        return Guess({}, seen)
    if wide:
        taken -= {columns.pop(name) for name in list(columns) if name not in ("model", "regime") and name in columns}
        table["wide"] = {} if columns["model"] == "model" else {"model": columns.pop("model")}
        numbers = [_number(v) for name in wide for v in seen[name]]
        if max((n for n in numbers if n is not None), default=0) > 1:
            table["values"] = {"score": {"scale": [0, 100]}}
            undecided.append("Cells above 1 are read as percent; another scale is said by scale = [worst, best].")
        undecided.append("Trials behind a rate make its interval right: [wide] trials = { BENCHMARK = NUMBER }.")
        columns = {name: raw for name, raw in columns.items() if name == "model"}
    elif "score" in columns:
        meaning, why = _meaning(seen[columns["score"]])
        table |= {"values": {"score": meaning}} if meaning else {}
        undecided += [why] if why else []
    elif "latency_s" in columns:
        table["outcome"] = "latency_s"
        undecided.append("No column of scores was recognised, so the outcome is the time; answers are about seconds.")
        if "ms" in _plain(columns["latency_s"].rpartition(".")[2]) or _large(seen[columns["latency_s"]]):
            table["values"] = {"latency_s": {"scale": [0, 1000]}}
            undecided.append(f"{columns['latency_s']} is read as milliseconds: scale = [0, 1000] makes seconds of it.")
    _regime(table, columns, seen, undecided)
    if "context" not in columns and not set(SERVING_FACTORS) & set(seen):
        undecided.append(
            'No column says how a row was served: name one with [columns] context = "NAME", or log the factors.'
        )
    if "model" not in columns and not wide:
        table.setdefault("constants", {})["model"] = Path(source.file).name.partition(".")[0] or "model"
        undecided.append("No column names the model: all rows are taken for one model, name it as you like.")
    for factor in SERVING_FACTORS:  # inside records
        inner = next((name for name in seen if "." in name and name.rpartition(".")[2] == factor), None)
        if inner is not None and len(seen[inner]) > 1:
            columns.setdefault(factor, inner)
    mapped = {name: raw for name, raw in columns.items() if raw != name}
    table |= {"columns": mapped} if mapped else {}
    found = Guess({key: table[key] for key in ORDER if key in table}, seen, tuple(undecided))
    return found if _reads(source, found.table) else Guess({}, seen)


ORDER = ("outcome", "columns", "constants", "regime", "values", "wide")


def advice(sources: Iterable[Source], otherwise: str) -> str:
    """Sentences with the values seen in the first file and the line to write, or `otherwise` where none is known."""
    source = next(iter(sources), None)
    if source is None:
        return f" {otherwise}"
    found = guess(source)
    shown = ", ".join(f"{name} ({', '.join(values[:1])})" for name, values in list(found.seen.items())[:3])
    said = f" It has {shown}." if shown else ""
    if not found.table:
        return f"{said} {otherwise}"
    by_flags = f"add {found.flags}, or " if found.flags and len(found.flags) <= FLAGS_MAX else ""
    return f"{said} To read it {by_flags}let divergence init {_quoted(source.file)} write what was recognised."


def toml_lines(table: Mapping, flat: bool = False) -> list[str]:
    """A configuration as lines of TOML: single keys first; `flat` = one line a section, for a sentence."""
    lines = [f"{key} = {_toml(value)}" for key, value in table.items() if not isinstance(value, Mapping)]
    for key, value in table.items():
        if isinstance(value, Mapping):
            inside = [f"{_key(name)} = {_toml(one)}" for name, one in value.items()]
            lines += [f"{key} = {{ {', '.join(inside)} }}"] if flat else ["", f"[{key}]", *inside]
    return lines


def _reads(source: Source, table: dict) -> bool:
    """Would the file be an execution log with a regime under this configuration?"""
    from divergence.executions.recognise import check_names, check_regime, extra_columns, recognise

    try:
        configuration = Configuration.from_table(table)
        tables, _ = recognise([source], configuration)
        check_names(tables, configuration, extra_columns(configuration))
        check_regime(tables["executions"], configuration)
    except (InputError, pl.exceptions.PolarsError):
        return False
    return bool(tables["executions"])


def _seen(source: Source) -> dict[str, tuple[str, ...]]:
    """Columns and what is nested in them -> their first distinct values as texts; nothing of a file that is damaged."""
    try:
        rows = source.frame.drop(ROW, strict=False).head(LOOKED_AT).collect()
    except pl.exceptions.PolarsError:
        return {}
    found: dict[str, tuple[str, ...]] = {}
    for name in source.columns:
        values = [value for value in rows[name].to_list() if value is not None]
        inner = inner_names(name, values[0]) if values else []
        for path in inner or [name]:
            if inner and nested(source, path) is None:
                continue
            held = values if path == name else [_at(value, path[len(name) + 1 :].split(".")) for value in values]
            texts = dict.fromkeys(_text(value) for value in held if value is not None)
            found[path] = tuple(texts)
    return found


def _at(value: object, path: list[str]) -> object:
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            return None
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _text(value: object) -> str:
    text = json.dumps(value) if isinstance(value, bool | dict | list) else str(value)
    return text if len(text) <= 40 else text[:37] + "..."


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _named(canonical: str, seen: Mapping[str, tuple[str, ...]]) -> str | None:
    """The column that is likeliest meant: by its own name, else by the last part of a dotted one."""
    if canonical in seen:
        return canonical
    by_name: dict[str, str] = {}
    for name in seen:
        by_name.setdefault(_plain(name.rpartition(".")[2]), name)
    for synonym in SYNONYMS[canonical]:
        name = by_name.get(synonym)
        if name is not None and seen[name] and not (name in COLUMNS and name != canonical):
            return name
    return None


def _number(text: str) -> float | None:
    try:
        plain = text.strip()
        return float(plain[:-1]) / 100 if plain.endswith("%") else float(plain)
    except ValueError:
        return None


def _large(values: tuple[str, ...]) -> bool:
    """Are times so long that they are milliseconds? A median above 60 s is no latency of a request."""
    numbers = sorted(n for n in map(_number, values) if n is not None)
    return bool(numbers) and numbers[len(numbers) // 2] > 60


def _wide(columns: Mapping[str, str], seen: Mapping[str, tuple[str, ...]]) -> list[str]:
    """The columns of benchmarks, where the table is one row a model with three or more of them."""
    if "model" not in columns or set(columns) & {"item", "session", "latency_s", "time"}:
        return []
    cells = [
        name
        for name, values in seen.items()
        if name not in (columns["model"], "regime") and name not in SERVING_FACTORS and values
        if all(_number(v) is not None or v.strip().lower() in NO_VALUE for v in values)
    ]
    return cells if len(cells) >= 3 else []


def meant_scale(least: float, most: float) -> tuple[float, float]:
    """The usual scale that holds numbers between these two, else just these: what means 0, and what means 1.

    >>> meant_scale(-1, 1), meant_scale(0, 2), meant_scale(0, 75.5), meant_scale(-3, 12)
    ((-1, 1), (0, 2), (0, 100), (-3, 12))
    """
    return next(((low, high) for low, high in SCALES if low <= least and most <= high), (least, most))


def _meaning(values: tuple[str, ...]) -> tuple[dict, str]:
    """What the texts or the scale of a score may mean, and what is to be decided."""
    numbers = [_number(v) for v in values]
    known = [n for n in numbers if n is not None]
    if len(known) == len(values):
        if known and (max(known) > 1 or min(known) < 0):
            low, high = meant_scale(min(known), max(known))
            return {
                "scale": [low, high]
            }, f"Scores from {min(known):g} to {max(known):g} are read on the scale {low:g} to {high:g}."
        return {}, ""
    if all(v.lower() in ("true", "false") for v in values):
        return {}, ""
    meant = known_meaning([v for v in values if v.strip().lower() not in ("true", "false") and _number(v) is None])
    if not meant:
        return {}, f"The scores are texts ({', '.join(values[:4])}): say what each means, such as {example_meaning(values)}."
    left = [v for v in values if v not in meant]
    why = f"{', '.join(meant)} are read as {', '.join(f'{n:g}' for n in meant.values())}"
    return meant, why + (f"; say what {', '.join(left[:4])} mean, else they are rejected." if left else ".")


def known_meaning(texts: Iterable[str]) -> dict[str, float]:
    """What texts mean as scores where one plainly is right and one is wrong; else nothing, since they may be letters of
    answers, or grades: ok beside good.

    >>> known_meaning(["PASS", "FAIL"]), known_meaning(["bad", "ok", "good"]), known_meaning(["A", "B", "C", "D"])
    ({'PASS': 1.0, 'FAIL': 0.0}, {}, {})
    """
    texts = list(dict.fromkeys(texts))
    meant = {v: number for v in texts for number, words in MEANINGS.items() if v.strip().lower() in words}
    right = [v.strip().lower() for v, number in meant.items() if number]
    plain = set(meant.values()) == {0.0, 1.0} or len(meant) == len(texts)
    return {} if not plain or ("ok" in right and len(right) > 1) else meant


def example_meaning(texts: Iterable[str]) -> str:
    """A line that says what these texts mean, with their own names: as far as they say it, else the first as the best.

    >>> example_meaning(["FAIL", "PASS"]), example_meaning(["B", "A", "D"])
    ('[values] score = { FAIL = 0, PASS = 1 }', '[values] score = { B = 1, A = 0, D = 0 }')
    """
    texts = list(dict.fromkeys(texts))[:4]
    known = known_meaning(texts)
    meant = {text: known.get(text, float(not known and not place)) for place, text in enumerate(texts)}
    return f"[values] score = {_toml(meant)}"


def _regime(table: dict, columns: dict[str, str], seen: Mapping[str, tuple[str, ...]], undecided: list[str]) -> None:
    """Which world rows come from: by a column's levels, else one for the whole file."""
    if set(seen.get("regime", ())) & {"evaluation", "deployment"}:
        return
    if "item" not in columns and "wide" not in table:
        table.setdefault("constants", {})["regime"] = "deployment"
        undecided.append("No column names the item, which evaluation rows need: all rows are taken for deployment.")
        return
    for name, values in seen.items():
        if _plain(name.rpartition(".")[2]) in WORLDS and 1 < len(values) <= 50:
            bench = [v for v in values if BENCH.match(v)]
            if bench and (len(bench) < len(values)) and any(LIVE.match(v) for v in values if v not in bench):
                table["regime"] = {"column": name, "evaluation": bench}
                undecided.append(f"{', '.join(bench)} of {name} are the bench; every other level is deployment.")
                return
    live = bool(set(columns) & {"session", "latency_s", "time"}) and "wide" not in table
    table.setdefault("constants", {})["regime"] = "deployment" if live else "evaluation"
    undecided.append(
        "All rows are taken for one world; name the other side's files too, with --evaluation and --deployment."
    )


def _quoted(text: str) -> str:
    return text if re.fullmatch(r"[\w./=:@+-]+", text) else "'" + text.replace("'", "'\\''") + "'"


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _string(name)


def _string(text: str) -> str:
    """As TOML writes it: as JSON does, which leaves one control character as it is."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _toml(value: object) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{_key(str(k))} = {_toml(v)}" for k, v in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_toml(v) for v in value) + "]"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return _string(value) if isinstance(value, str) else json.dumps(value)

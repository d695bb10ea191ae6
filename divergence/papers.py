"""What a paper needs: whom to cite, and a paragraph of methods made from the record of a run.

Two populations are told apart as NIST AI 800-3 does: *benchmark accuracy* is about the items of the benchmark themselves,
*generalized accuracy* about new items of the same source. Numbers of `divergence` are the second, unless `items="observed"`
was asked for.
"""

from __future__ import annotations

import json
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from divergence.calling import nearest, sentences, shown
from divergence.errors import ArgumentError, InputError
from divergence.sealed import COUNT, DAMAGE, Form, check_form
from divergence.shown import counted

POPULATIONS = {
    "new": "new items of the same source, the population of generalized accuracy in the terms of NIST AI 800-3",
    "observed": "the items of the benchmark themselves, the population of benchmark accuracy in the terms of NIST AI 800-3",
}
"""Which items an answer is about -> its name and meaning."""
REFERENCES: dict[str, str] = {
    "divergence": "@software{divergence, title = {divergence: the joint distribution over benchmark and production logs}, "
    "author = {{The divergence developers}}, version = {VERSION}, license = {Apache-2.0}}",
    "items": "@article{miller2024, title = {Adding Error Bars to Evals: A Statistical Approach to Language Model "
    "Evaluations}, author = {Miller, Evan}, journal = {arXiv:2411.00640}, year = {2024}}",
    "populations": "@techreport{nist800-3, title = {Expanding the {AI} Evaluation Toolbox with Statistical Models}, "
    "institution = {National Institute of Standards and Technology}, number = {NIST AI 800-3}, year = {2026}, "
    "author = {{National Institute of Standards and Technology}}, month = feb}",
    "contexts": "@book{brennan2001, title = {Generalizability Theory}, author = {Brennan, Robert L.}, "
    "publisher = {Springer}, year = {2001}}",
    "gap": "@article{cai2023, title = {Diagnosing Model Performance Under Distribution Shift}, author = {Cai, Tiffany and "
    "Namkoong, Hongseok and Yadlowsky, Steve}, journal = {arXiv:2303.02011}, year = {2023}}",
    "importance": "@article{vehtari2024, title = {Pareto Smoothed Importance Sampling}, author = {Vehtari, Aki and Simpson, "
    "Daniel and Gelman, Andrew and Yao, Yuling and Gabry, Jonah}, journal = {Journal of Machine Learning Research}, "
    "volume = {25}, year = {2024}}",
    "nuts": "@article{hoffman2014, title = {The {No-U-Turn} Sampler: Adaptively Setting Path Lengths in {Hamiltonian} "
    "{Monte} {Carlo}}, author = {Hoffman, Matthew D. and Gelman, Andrew}, journal = {Journal of Machine Learning Research}, "
    "volume = {15}, pages = {1593--1623}, year = {2014}}",
    "numpyro": "@article{phan2019, title = {Composable Effects for Flexible and Accelerated Probabilistic Programming in "
    "{NumPyro}}, author = {Phan, Du and Pradhan, Neeraj and Jankowiak, Martin}, journal = {arXiv:1912.11554}, "
    "year = {2019}}",
    "spread": "@article{gelman2005, title = {Analysis of Variance: Why It Is More Important Than Ever}, author = {Gelman, "
    "Andrew}, journal = {The Annals of Statistics}, volume = {33}, pages = {1--53}, year = {2005}}",
}
"""What is cited -> its BibTeX entry; `importance`, `nuts` and `numpyro` only where a run used them."""
ALWAYS = ("divergence", "items", "populations", "contexts", "gap", "spread")
CITED: Form = {"fits": [{"method": str}]}
"""What citations take of a record."""
TOLD: Form = {
    "provenance": {"seed": int, "versions": {None: str}},
    "fits": [
        {
            "outcome": str,
            "kind": str,
            "method": str,
            **dict.fromkeys(("n_rows", "n_items", "n_contexts", "n_sessions"), COUNT),
            "diagnostics": [{"name": str, "value": float, "passed": bool}],
        }
    ],
    "interval?": float,
    "factors?": [str],
    "configuration?": {"items?": str, "deployment_law?": {"name?": str}},
    "rows?": {"regimes?": {None: COUNT}, "rejected?": {None: COUNT}, "unjudged?": COUNT},
    "preregistered?": {"departures": [str], "created": str, "sha256": str},
    "data?": [{"file": str, "sha256?": (str, type(None))}],
}
"""What the paragraph of methods takes of a record; what is null is as if it were not there."""


@sentences
def citations(run: str | os.PathLike | Mapping | None = None) -> str:
    """Whom to cite, as BibTeX.

    `run`: the folder of a report, its `run.json`, or that record itself; then only the methods that this run used are in it;
    None = all of them. Returns the entries as one text. Raises InputError where there is no such record.

    >>> import divergence as dv
    >>> "@software{divergence" in dv.citations()
    True
    """
    from importlib.metadata import version

    names = list(REFERENCES)
    if run is not None:
        used = " ".join(str(fit["method"]).lower() for fit in _record(run, CITED)["fits"])
        names = [
            *ALWAYS,
            *(["importance"] if "importance" in used else []),
            *(["nuts", "numpyro"] if "nuts" in used else []),
        ]
    return "\n\n".join(REFERENCES[name].replace("VERSION", version("eval-divergence")) for name in names) + "\n"


@sentences
def methods(run: str | os.PathLike | Mapping, *, items: str | None = None) -> str:
    """A paragraph of methods for a paper, made from the record of a run and from nothing else.

    `run`: the folder of a report, its `run.json`, or that record itself. `items`: the population that the numbers are
    about, `"new"` or `"observed"`; None = as the run's configuration says. Returns plain text: what was analysed, how it
    was fitted, whether the diagnostics passed, which population the numbers are about, what was set aside. Raises
    InputError where there is no such record.

    >>> import divergence as dv
    >>> from divergence.simulate import simulate, world
    >>> log = dv.read(simulate(world("baseline", n_models=3, n_contexts=3, n_items=40), 0)[0])
    >>> _ = dv.write_report(dv.fit(dv.collapse(log), seed=0), "out", log=log)
    >>> "generalized accuracy" in dv.methods("out")
    True
    """
    record = _record(run, TOLD)
    items = items or _items(record)
    if items not in POPULATIONS:
        raise ArgumentError(f"items is 'new' or 'observed', seen {items!r}{nearest(str(items), POPULATIONS)}.")
    parts = [_analysed(record), *(_fitted(record, fit) for fit in record["fits"]), _populations(record, items)]
    return " ".join(part for part in [*parts, _set_aside(record), _preregistered(record), _data(record)] if part)


def _items(record: Mapping) -> str:
    return record.get("configuration", {}).get("items", "new")


def population(record: Mapping) -> str:
    """Which items the numbers of a run are about, in words."""
    return POPULATIONS[_items(record)]


def _record(run: str | os.PathLike | Mapping, form: Form) -> Mapping[str, Any]:
    """The record of a run, of which what is used has this form. Raises InputError for what is none."""
    if not isinstance(run, str | os.PathLike | Mapping):
        raise ArgumentError(f"run is the folder of a report, its run.json, or that record itself, seen {shown(run)}.")
    name = "this"
    if not isinstance(run, Mapping):
        path = pathlib.Path(run)
        path = path / "run.json" if path.is_dir() else path
        name = str(path)
        try:
            run = json.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise InputError(
                f"there is no record of a run at {path}: {error.strerror}; name the folder of a report"
            ) from None
        except (ValueError, RecursionError):
            raise InputError(f"{path} is no record of a run: it is not JSON") from None
    if not isinstance(run, Mapping) or not run.get("fits") or "provenance" not in run:
        raise InputError(f"{name} is no record of a run: run.json of a report has fits and provenance")
    try:
        # As the file holds it; half of a surrogate pair cannot stand in a text.
        text = json.dumps({key: value for key, value in run.items() if value is not None}, default=str, ensure_ascii=False)
        text.encode()
        record = json.loads(text)
        check_form(record, form, "record")
        if form is TOLD and _items(record) not in POPULATIONS:
            raise ValueError(f"its items are {_items(record)!r}")
        if form is TOLD and not 0 < record.get("interval", 0.9) < 1:
            raise ValueError(f"its interval is {record['interval']!r}")
    except DAMAGE as error:
        raise InputError(f"{name} is no whole record of a run ({str(error)[:100]}): make that report again") from None
    return record


def _analysed(record: Mapping) -> str:
    first = record["fits"][0]
    version = record["provenance"]["versions"].get("eval-divergence", "")
    sizes = [
        counted(first["n_rows"], "logged execution"),
        counted(first["n_items"], "item"),
        counted(first["n_contexts"], "serving context"),
    ]
    sizes += [counted(first["n_sessions"], "session")] if first["n_sessions"] else []
    factors = record.get("factors") or []
    told = f" that differ in {_and(factors)}" if factors and list(factors) != ["context"] else ""
    return f"We analysed {_and(sizes)}{told} with divergence {version}."


def _fitted(record: Mapping, fit: Mapping) -> str:
    """The sentence on one outcome."""
    failed = [d["name"] for d in fit["diagnostics"] if not d["passed"]]
    gates = ", ".join(f"{d['name']} {d['value']:.3g}" for d in fit["diagnostics"])
    verdict = f"these diagnostics failed: {_and(failed)}" if failed else f"all diagnostics passed ({gates})"
    seen = [name for name, rows in record.get("rows", {}).get("regimes", {}).items() if rows]
    regimes = _and(seen) if seen else "evaluation and deployment"
    return (
        f"The outcome {fit['outcome']} ({fit['kind']}) was fitted over {regimes} rows by a "
        f"hierarchical model of the level of every model, context and regime, with a covariance clustered by item and "
        f"session ({fit['method']}; seed {record['provenance']['seed']}); {verdict}."
    )


def _populations(record: Mapping, items: str) -> str:
    declared = record.get("configuration", {}).get("deployment_law", {}).get("name", "logged")
    laws = {
        "logged": "by their shares of the logged traffic",
        "own": "by each model's own shares of traffic",
        "uniform": "equally",
        "declared": "by declared shares",
    }
    several = f" Deployment contexts count {laws.get(declared, declared)}." if record["fits"][0]["n_contexts"] > 1 else ""
    return (
        f"Numbers are posterior medians with {record.get('interval', 0.9):.0%} equal-tailed intervals, about "
        f"{POPULATIONS[items]}.{several}"
    )


def _set_aside(record: Mapping) -> str:
    rows = record.get("rows", {})
    rejected, unjudged = sum(rows.get("rejected", {}).values()), rows.get("unjudged", 0)
    told = [f"{counted(rejected, 'row')} that broke a rule of the log were set aside"] if rejected else []
    positive = record["fits"][0].get("kind") == "positive"
    what = "without a value above 0 count in no level" if positive else "without a judgement are taken as missing at random"
    told += [f"{counted(unjudged, 'row')} {what}"] if unjudged else []
    return f"{_and(told)}." if told else ""


def _preregistered(record: Mapping) -> str:
    lock = record.get("preregistered")
    if not lock:
        return ""
    departures = lock["departures"]
    told = (
        "without departures" if not departures else f"with {counted(len(departures), 'departure')}: {'; '.join(departures)}"
    )
    return f"Questions, margins and seed were registered on {lock['created'][:10]} (SHA-256 {lock['sha256'][:12]}), {told}."


def _data(record: Mapping) -> str:
    files = [f"{pathlib.Path(d['file']).name} ({d['sha256'][:12]})" for d in record.get("data", []) if d.get("sha256")]
    if not files:
        return ""
    more = f" and {len(files) - 5} more" if len(files) > 5 else ""
    return f"Data by SHA-256: {', '.join(files[:5])}{more}."


def _and(words: Sequence[str]) -> str:
    words = list(words)
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"

"""Settings of a run that no column holds: those that differ between runs of one model are part of its context.

A run setting that differs between two runs makes two contexts; it never turns the runs into replicates of each other.
What the runs of a model and task agree on is left out, since it tells nothing apart. They are the harness around the
model, and so they are put into the factor `scaffold`, after what is known of it.
"""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from divergence.executions.importers import convert

GROUP = ("model", "task")
SHOWN = 60  # characters of a value that a label shows; a longer one is told by its hash


def with_settings(executions: pl.LazyFrame, runs: Mapping[str, Mapping[str, str]]) -> tuple[pl.LazyFrame, list[str]]:
    """The executions with these settings in `scaffold`, and a sentence for every model whose runs differ.

    `runs` holds the settings of each run by the file in column `__file`.
    """
    if len(runs) < 2:
        return executions, []
    distinct = executions.select(*GROUP, "__file").unique(maintain_order=True).collect(engine="streaming")
    groups = distinct.group_by(GROUP, maintain_order=True).agg("__file")
    labels: dict[tuple[str, str | None, str], str] = {}
    said: dict[str, None] = {}
    for model, task, files in groups.iter_rows():
        known = [file for file in files if file in runs]
        names = [name for name in dict.fromkeys(n for file in known for n in runs[file]) if _differs(name, known, runs)]
        for file in known if names else ():
            labels[model, task, file] = ",".join(f"{name}={_shown(runs[file].get(name))}" for name in names)
        if names:
            said[
                f"The runs of {model} differ in {', '.join(names)}: each setting is a context of its own (in `scaffold`)."
            ] = None
    if not labels:
        return executions, list(said)
    table = pl.LazyFrame(
        [(*key, label) for key, label in labels.items()],
        schema={**{name: pl.String for name in (*GROUP, "__file")}, "__settings": pl.String},
        orient="row",
    )
    joined = executions.join(table, on=[*GROUP, "__file"], how="left", nulls_equal=True, maintain_order="left")
    label = pl.concat_str("scaffold", "__settings", separator=",", ignore_nulls=True)
    return joined.with_columns(scaffold=pl.when(label != "").then(label)).drop("__settings"), list(said)


def told(runs: Mapping[str, Mapping[str, str]]) -> list[str]:
    """A sentence that names what differs between runs and makes no context of its own."""
    files = list(runs)
    names = [name for name in dict.fromkeys(n for run in runs.values() for n in run) if _differs(name, files, runs)]
    return [f"Left out of the context, though runs differ in it: {', '.join(names)}."] if names else []


def _differs(name: str, files: list[str], runs: Mapping[str, Mapping[str, str]]) -> bool:
    return len({runs[file].get(name) for file in files}) > 1


def _shown(value: str | None) -> str:
    if value is None:
        return "not given"
    return value if len(value) <= SHOWN else convert.digest(value)

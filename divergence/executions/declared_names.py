"""Names of the configuration that a log may lack: an error where no log could have them, else a sentence beside the results.

One configuration may serve several logs, and both sides of a comparison: names of models that this log does not write, and
features that it does not log, change nothing. But misspelt, they would change nothing either, and nobody would see it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

import polars as pl

from divergence.configuration import Configuration, nearest
from divergence.errors import InputError
from divergence.executions.columns import renamed, typed
from divergence.executions.files import Source
from divergence.executions.schema import COLUMNS

NO_FEATURES = ("score", "score_n", "probability")  # what happened, and how a row came into the log
SHOWN = 3  # names that a sentence lists


def check_features(configuration: Configuration) -> None:
    """Raises InputError for a declared feature that is no number of the schema that may tell a risk."""
    numbers = [name for name, column in COLUMNS.items() if column.dtype.is_numeric() and name not in NO_FEATURES]
    for name in configuration.features:
        if name not in numbers or name == configuration.outcome:
            raise InputError(
                f"features names {name}, which is no number of the schema that may tell a risk{nearest(name, numbers)}: "
                "name such a column, for example input_tokens, and lead to it under [columns]"
            )


def not_in_the_log(
    sources: Iterable[Source], configuration: Configuration, present: Collection[str], ignored: Iterable[str]
) -> tuple[str, ...]:
    """Sentences on declared features and names of models that this log does not have, each with the nearest one that it has.

    `present`: canonical columns with values; `ignored`: columns of the files that nothing uses.
    """
    ignored = list(ignored)
    told = [
        f"features names {name}, which this log does not have{nearest(name, ignored)}: it is left out."
        for name in configuration.features
        if name not in present
    ]
    return (*told, *_models(sources, configuration))


def _models(sources: Iterable[Source], configuration: Configuration) -> tuple[str, ...]:
    """A sentence on the names under [models] that no row has; those that are near to another name of the log come first."""
    if not configuration.models:
        return ()
    written = _written(sources, configuration)
    free = sorted(written - {*configuration.models})
    absent = [name for name in configuration.models if name not in written]
    said = {name: nearest(name, (other for other in free if other != configuration.models[name])) for name in absent}
    shown = [name + said[name] for name in sorted(absent, key=lambda name: not said[name])]
    if not shown:
        return ()
    more = f" and {len(shown) - SHOWN} more" if len(shown) > SHOWN else ""
    return (f"[models] names {', '.join(shown[:SHOWN])}{more}, which no row of this log has: nothing is renamed by that.",)


def _written(sources: Iterable[Source], configuration: Configuration) -> set[str]:
    """Names of models as the files write them."""
    found, frames = set(), []
    for source in sources:
        raw = renamed(source, configuration).get("model")
        if raw is not None:
            frames.append(source.frame.select(typed(COLUMNS["model"], raw, source.schema[raw])[0]).unique())
        elif "model" in configuration.constants:
            found.add(configuration.constants["model"])
    for frame in pl.collect_all(frames, engine="streaming"):
        found.update(frame["model"].drop_nulls())
    return found

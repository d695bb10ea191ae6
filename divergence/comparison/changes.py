"""What differs between the settings of two runs, and what may be said of it?

Nothing that is logged: the same thing twice (A/A), as far as the logs say. One thing: it may be named beside the difference.
More: which of them matters cannot be told from two runs.
"""

from __future__ import annotations

import dataclasses

from divergence.comparison.pairs import Pairs
from divergence.comparison.sides import Side, settings_of

MEASURED = ("wave", "trial", "session", "turn", "item", "task")
"""Columns that say when or on what was measured: two of their levels are no change of what is served."""
UNCOUNTED = ("base_url", "model_base_url")
"""Addresses: where something is served is shown, and is no change of what is served."""


@dataclasses.dataclass(frozen=True)
class Change:
    """One setting that differs."""

    field: str
    """Name of the setting."""
    before: str | None
    """Its value in the first run; None = not logged there."""
    after: str | None
    """Its value in the second run; None = not logged there."""

    @property
    def counts(self) -> bool:
        """Is it a change of what is served, and not only of where?"""
        return self.field.rpartition(".")[2] not in UNCOUNTED


def changes(before: Side, after: Side, pairs: Pairs, apart: str | None = None) -> tuple[Change, ...]:
    """The settings that differ, in the order in which the first run names them; `apart` is a column that was asked for.

    Only rows that decide are looked at; what tells pairs apart is the same on both sides. The label of a context is no
    setting where the factors say what it stands for; where nothing else differs, another label is the change.
    """
    first, second = settings_of(before, pairs.before, pairs.strata), settings_of(after, pairs.after, pairs.strata)
    found = [Change(name, first.get(name), second.get(name)) for name in dict.fromkeys([*first, *second])]
    found = [change for change in found if change.before != change.after]
    models = [" | ".join(side.rows["model"].unique().sort().to_list()) for side in (before, after)]
    if models[0] != models[1] and not any(c.field.rpartition(".")[2] in ("model", "pretrained") for c in found):
        found.insert(0, Change("model", *models))
    if apart not in (None, "context", *MEASURED, *(change.field for change in found)):
        found.append(Change(apart, before.name, after.name))
    labels = [" | ".join(rows["context"].unique().sort().to_list()) for rows in (pairs.before, pairs.after)]
    if before.context_given and after.context_given and labels[0] != labels[1] and not found:
        found.append(Change("context", *labels))
    return tuple(found)


def sentence(found: tuple[Change, ...]) -> str:
    """What differs, in words."""
    counted = [change for change in found if change.counts]
    if not counted:
        where = " (apart from the address)" if found else ""
        return f"No logged setting differs{where}: an A/A, unless something changed that the logs do not say."
    shown = [f"{c.field} {c.before or 'not logged'} -> {c.after or 'not logged'}" for c in counted]
    if len(counted) == 1:
        return f"One logged setting differs: {shown[0]}."
    more = f" and {len(shown) - 4} more" if len(shown) > 4 else ""
    return f"{len(counted)} logged settings differ ({'; '.join(shown[:4])}{more}): which one matters cannot be told."

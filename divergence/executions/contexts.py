"""What a serving context is in this log: which factors vary, and the label of their combination.

A factor is used when it is declared, or else when it varies: when it takes two levels within one regime (a missing one
counts as the level `not logged`, because defaults are often not written down), or two levels that are present in the
log as a whole. A factor that only one regime logs, always at the same level, does not vary. Without any factor that
varies, a given `context` is the one factor. The label is the given `context`, else `factor=level|factor=level` in the
order of the schema.
"""

from __future__ import annotations

import polars as pl

from divergence.executions.profile import Profile

NOT_LOGGED = "not logged"
ONE_CONTEXT = "all"
"""Label of the context of a log that names none."""


def varying(profile: Profile, declared: tuple[str, ...] | None) -> tuple[str, ...]:
    """The factors of a log in schema order (declared ones in the order of their declaration)."""
    if declared is not None:
        return declared
    factors = tuple(
        factor
        for factor, (evaluation, deployment, present) in profile.levels.items()
        if profile.columns[factor].values and not unusable(profile, factor) and max(evaluation, deployment, present) > 1
    )
    if not factors and profile.columns["context"].values and not unusable(profile, "context"):
        return ("context",)
    return factors


def unusable(profile: Profile, name: str) -> bool:
    """Does the column hold values that cannot be typed or lie outside their range?"""
    return profile.columns[name].failed + profile.columns[name].outside > 0


def with_context(frame: pl.LazyFrame, factors: tuple[str, ...]) -> pl.LazyFrame:
    """Fill the levels that are missing and write the context's label into every row."""
    named = [factor for factor in factors if factor != "context"]
    frame = frame.with_columns(pl.col(factor).fill_null(NOT_LOGGED) for factor in named)
    parts = [pl.concat_str(pl.lit(f"{factor}="), pl.col(factor)) for factor in named]
    label = pl.lit(NOT_LOGGED if "context" in factors else ONE_CONTEXT)
    if parts:
        label = pl.concat_str(parts, separator="|")
    return frame.with_columns(pl.coalesce("context", label).alias("context"))

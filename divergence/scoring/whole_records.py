"""Is the record inside a result whole? A run that goes on adds up what records say, so each is looked at first."""

from __future__ import annotations

import json

import numpy as np

from divergence.risk.discrimination import BINS, GROUPS, SIDES, SUMS
from divergence.scoring.outcome_counts import COUNTS
from divergence.scoring.sharpness import KINDS
from divergence.sealed import COUNT, DAMAGE, check_form

_PLACES = len(KINDS) * GROUPS * len(SIDES)
_OBSERVED = {None: {name: [float] for name in COUNTS}}
_RECORD = {
    "key": dict,
    **dict.fromkeys(("rows", "scored", "evaluation", "elsewhere"), COUNT),
    "rejected": {None: COUNT},
    "unreadable": {None: COUNT},
    "example": str,
    "absent": [str],
    **{name: _OBSERVED for name in ("observed", "observed_new", "observed_items")},
    "sharpness": {"bins": [list], "sums": [float], "requests": [[float]]},
}
_ROUNDED = 1e-9  # failures are sums of floats, and may exceed their number by that


def damage(made: dict) -> str:
    """What is wrong with a record, in a few words; '' where it is whole."""
    try:
        check_form(made, _RECORD, "record")
        json.dumps(made, allow_nan=False, ensure_ascii=False).encode()
        for name in ("observed", "observed_new", "observed_items"):
            for context, counts in made[name].items():
                risk, n, failures = (np.array(counts[of], float) for of in COUNTS)
                right = len(risk) > 0 and risk.shape == n.shape == failures.shape
                right = right and ((risk >= 0) & (risk <= 1) & (n > 0) & (n < COUNT.stop)).all()
                if not (right and ((failures >= 0) & (failures <= n * (1 + _ROUNDED))).all()):
                    raise ValueError(f"record.{name}.{context} cannot be counts")
        _check_sharpness(**made["sharpness"])
    except DAMAGE as error:
        return f"{type(error).__name__}: {error}"[:120]
    return ""


def _check_sharpness(bins: list, sums: list, requests: list) -> None:
    """ValueError where the sums are none that `Sharpness.record` gives."""
    places, *values = bins
    check_form(places, [range(_PLACES * BINS)], "record.sharpness.bins")
    check_form(values, [[float]], "record.sharpness.bins")
    sizes = len(sums), [len(each) for each in requests], [len(each) for each in values]
    wanted = _PLACES * len(SUMS), [BINS, BINS], [len(places)] * 2
    if sizes != wanted or min((n for each in (*values, *requests) for n in each), default=0) < 0:
        raise ValueError(f"record.sharpness has sizes {sizes}")

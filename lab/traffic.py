"""A traffic-like stream for the deployment regime: a mixture of tasks that drifts, with a known share of bench items.

`python -m lab.traffic [COUNT]` writes JSON lines; the same call gives the same bytes. Request n is drawn
independently: with probability `OVERLAP` an item of the bench, else one that the bench does not have; its family from a
mixture that moves linearly from `FIRST` to `LAST` over the stream; long (all its worked examples) or short (the last
two) with equal probability. Users send about four requests each, which share a session.
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Iterator

from lab.items import PER_FAMILY, SEED, items

OVERLAP = 0.6
FRESH = 5  # items of each family that only traffic has
SHORT_EXAMPLES = 2
SESSION_REQUESTS = 4.0
FIRST = {"capital": 0.30, "opposite": 0.20, "kind": 0.20, "sentiment": 0.10, "lookup": 0.10, "sum": 0.10}
LAST = {"capital": 0.10, "opposite": 0.10, "kind": 0.10, "sentiment": 0.30, "lookup": 0.20, "sum": 0.20}


def stream(count: int) -> Iterator[dict]:
    """`count` requests in the order of their arrival; one item, long or short, is the same whenever it comes."""
    draw = random.Random(f"{SEED}/traffic")
    bench: dict[str, list[dict]] = {}
    fresh: dict[str, list[dict]] = {}
    for row in items():
        bench.setdefault(row["task"], []).append(row)
    known = {row["item"] for row in items()}
    for row in items(PER_FAMILY + FRESH):
        if row["item"] not in known:
            fresh.setdefault(row["task"], []).append(row)
    users: list[int] = []
    for number in range(count):
        place = number / max(count - 1, 1)
        share = [(1 - place) * FIRST[task] + place * LAST[task] for task in FIRST]
        task = draw.choices(list(FIRST), share)[0]
        row = dict(draw.choice((bench if draw.random() < OVERLAP else fresh)[task]))
        if draw.random() < 0.5:
            row |= {"item": f"{row['item']}-short", "examples": row["examples"][-SHORT_EXAMPLES:]}
        user = draw.choice(users) if users and draw.random() > 1 / SESSION_REQUESTS else number
        users = [*users, user][-40:]
        yield row | {"session": f"user-{user:05d}"}


if __name__ == "__main__":
    made = stream(int(sys.argv[1]) if len(sys.argv) > 1 else 2400)
    sys.stdout.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in made)

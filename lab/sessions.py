"""The serving lab's work in several steps: agent tasks with tools, and conversations; right answers by construction.

`python -m lab.sessions agents|chats [COUNT]` writes JSON lines; the same call gives the same bytes. The
declared length of an agent task is the fewest commands that solve it. Every task comes after two worked episodes,
because the models are tiny and need to be shown what a command looks like.
"""

from __future__ import annotations

import itertools
import json
import random
import sys
from collections.abc import Iterator

from lab.items import SEED, items

NAMES = ("total", "sum", "city", "name", "result", "answer", "place", "score")
CITIES = ("Oslo", "Rome", "Cairo", "Lima", "Paris", "Delhi", "Quito", "Tokyo", "Riga", "Bern")
MAX_CALLS = 8  # twice what the longest task needs: a model that has not ended by then walks in circles


def _episode(task: str, steps: list[tuple[str, str]]) -> list[list[str]]:
    """A worked episode as pairs of what the model sees and what it writes."""
    seen = [f"Task: {task}\n>", *(f"{result}\n>" for _, result in steps[:-1])]
    return [[ask, command] for ask, (command, _) in zip(seen, steps, strict=True)]


WORKED = [
    *_episode("Store 5 as size.", [("set size 5", "ok"), ("done", "bye")]),
    *_episode("Add 2 and 6 and store the result as count.", [("calc 2 + 6", "8"), ("set count 8", "ok"), ("done", "bye")]),
    *_episode("Store line 1 as town.", [("line 1", "Prague"), ("set town Prague", "ok"), ("done", "bye")]),
]


def agents(count: int) -> Iterator[dict]:
    """Tasks of two to six commands in four families."""
    draw = random.Random(f"{SEED}/agents")
    for number, kind in zip(range(count), itertools.cycle((_put, _sum, _line, _chain)), strict=False):
        prompt, wanted, length, more = kind(draw)
        yield {
            "item": f"{kind.__name__.strip('_')}-{number:02d}",
            "task": f"agent-{kind.__name__.strip('_')}",
            "examples": [list(pair) for pair in WORKED],
            "prompt": f"Task: {prompt}\n>",
            "agent": {"wanted": wanted, "length": length, "max_calls": MAX_CALLS, **more},
        }


def _put(draw: random.Random) -> tuple[str, dict, int, dict]:
    key, value = draw.choice(NAMES), str(draw.randrange(10, 100))
    return f"Store {value} as {key}.", {key: value}, 2, {}


def _sum(draw: random.Random) -> tuple[str, dict, int, dict]:
    key, a, b = draw.choice(NAMES), draw.randrange(1, 10), draw.randrange(1, 10)
    return f"Add {a} and {b} and store the result as {key}.", {key: str(a + b)}, 3, {}


def _line(draw: random.Random) -> tuple[str, dict, int, dict]:
    key, lines = draw.choice(NAMES), draw.sample(CITIES, 4)
    place = draw.randrange(4)
    return f"Store line {place + 1} as {key}.", {key: lines[place]}, 3, {"lines": lines}


def _chain(draw: random.Random) -> tuple[str, dict, int, dict]:
    key, a, b, c = draw.choice(NAMES), *(draw.randrange(1, 10) for _ in range(3))
    told = f"Add {a} and {b}, add {c} to the result, and store it as {key}."
    return told, {key: str(a + b + c)}, 4, {}


def chats(count: int) -> Iterator[dict]:
    """Conversations of four questions of one family, in one wording; the model's own answers are its examples later."""
    draw = random.Random(f"{SEED}/chats")
    families: dict[tuple[str, int], list[dict]] = {}
    for row in items():
        families.setdefault((row["task"], row["wording"]), []).append(row)
    for number, (key, rows) in zip(range(count), itertools.cycle(families.items()), strict=False):
        chosen = draw.sample(rows, 4)
        turns = [{k: row[k] for k in ("prompt", "gold", "scorer", "choices") if k in row} for row in chosen]
        yield {"item": f"chat-{number:02d}", "task": f"chat-{key[0]}", "examples": chosen[0]["examples"][:3], "turns": turns}


KINDS = {"agents": agents, "chats": chats}

if __name__ == "__main__":
    made = KINDS[sys.argv[1]](int(sys.argv[2]) if len(sys.argv) > 2 else 48)
    sys.stdout.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in made)

"""Traffic for two incidents: one that somebody switched on, and one that nobody did; right answers by construction.

`python -m lab.incidents bench|speculation|growth [COUNT]` writes JSON lines; the same call gives the same bytes.

bench        80 items: ten each of the serving lab's six families and of two with longer answers (copying, counting), since
             a draft model has nothing to draft where the answer is one token
speculation  `COUNT` requests, each an item of the bench drawn uniformly and independently: whatever moves in this stream,
             the traffic did not move it
growth       `COUNT` conversations of `TURNS` questions. Each opens with what is remembered of earlier conversations,
             about other things: one exchange, until at the share `UNTRIMMED` of the stream the memory stops being
             trimmed. From then on its exchanges grow linearly in the conversation's number, to `REMEMBERED[1]` (rounded
             up or down at random: the mean is the line), so that no conversation is far from the one before
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Iterator

from lab.items import SEED, items

PER_FAMILY = 10
TURNS = 3
REMEMBERED = (1.0, 9.0)  # exchanges: from a short memory to about 200 tokens, a fifth of a slot of the plan
UNTRIMMED = 0.45
WORKED = 2  # worked examples of its own family that a conversation has beside its memory

ADJECTIVES = ("old", "small", "tall", "green", "quiet", "new", "heavy", "round", "bright", "warm")
NOUNS = ("man", "dog", "teacher", "child", "sailor", "farmer", "cat", "doctor", "girl", "driver")
VERBS = ("carries", "sees", "paints", "opens", "cleans", "likes", "finds", "holds")
OBJECTS = ("box", "door", "table", "letter", "basket", "window", "cup", "coat")
PLACES = ("near the river", "in the garden", "at the station", "on the hill", "by the old bridge", "in the kitchen")


def _sentence(draw: random.Random) -> str:
    first, second = draw.sample(ADJECTIVES, 2)
    words = (first, draw.choice(NOUNS), draw.choice(VERBS), second, draw.choice(OBJECTS), draw.choice(PLACES))
    return "the {} {} {} the {} {} {}.".format(*words)


def _written(
    family: str, forms: tuple[str, ...], solved: list[tuple[dict, str]], asked: list[tuple[dict, str]]
) -> list[dict]:
    """Items of a family whose answers are written out, form after form."""
    out = []
    for number, (fields, gold) in enumerate(asked):
        form = forms[number % len(forms)]
        row = {
            "item": f"{family}-{number:02d}-w{number % len(forms) + 1}",
            "task": family,
            "wording": number % len(forms) + 1,
        }
        row |= {"examples": [[form.format(**f), g] for f, g in solved], "prompt": form.format(**fields)}
        out.append(row | {"gold": gold, "scorer": "exact"})
    return out


def copies(count: int) -> list[dict]:
    """Write the sentence again."""
    draw = random.Random(f"{SEED}/copies")
    sentences = list(dict.fromkeys(_sentence(draw) for _ in range(2 * count + 6)))
    pairs = [({"x": s}, s) for s in sentences]
    forms = ("Repeat: {x}\nCopy:", "Text: {x}\nThe same text:", "{x}\nAgain:")
    return _written("copy", forms, pairs[:3], pairs[3 : 3 + count])


def counts(count: int) -> list[dict]:
    """Write the numbers from here to there."""
    draw = random.Random(f"{SEED}/counts")
    pool = [(a, a + n) for a in range(2, 60) for n in (3, 4, 5, 6)]

    def case(a: int, b: int) -> tuple[dict, str]:
        return {"a": a, "b": b}, ", ".join(str(n) for n in range(a, b + 1))

    forms = ("Count from {a} to {b}:", "Numbers {a} to {b}:", "Question: Count up from {a} to {b}.\nAnswer:")
    return _written("count", forms, [case(3, 6), case(12, 17), case(40, 44)], [case(*p) for p in draw.sample(pool, count)])


def bench() -> list[dict]:
    """The items that both streams' bench contexts ask once."""
    return [*items(PER_FAMILY), *copies(PER_FAMILY), *counts(PER_FAMILY)]


def speculation(count: int) -> Iterator[dict]:
    """Independent uniform draws from the bench."""
    draw = random.Random(f"{SEED}/speculation")
    listed = bench()
    for _ in range(count):
        yield draw.choice(listed)


def remembered(number: int, count: int) -> float:
    """Mean number of exchanges that conversation `number` of `count` opens with."""
    (first, last), begin = REMEMBERED, int(UNTRIMMED * count)
    return first + (last - first) * max(number - begin, 0) / max(count - 1 - begin, 1)


def growth(count: int) -> Iterator[dict]:
    """Conversations whose memory is short, and later grows by the same number of exchanges from one to the next."""
    draw = random.Random(f"{SEED}/growth")
    families: dict[tuple[str, int], list[dict]] = {}
    for row in items():
        families.setdefault((row["task"], row["wording"]), []).append(row)
    for number in range(count):
        key = draw.choice(list(families))
        chosen = draw.sample(families[key], TURNS)
        others = [row for (task, _), rows in families.items() if task != key[0] for row in rows]
        mean = remembered(number, count)
        told = draw.sample(others, int(mean) + (draw.random() < mean % 1))
        memory = [[row["prompt"], row["gold"]] for row in told]
        turns = [{k: row[k] for k in ("prompt", "gold", "scorer", "choices") if k in row} for row in chosen]
        yield {
            "item": f"talk-{number:03d}",
            "task": f"talk-{key[0]}",
            "examples": [*memory, *chosen[0]["examples"][:WORKED]],
            "turns": turns,
        }


if __name__ == "__main__":
    wanted = sys.argv[1]
    count = int(sys.argv[2]) if len(sys.argv) > 2 else {"speculation": 1160, "growth": 400}.get(wanted, 0)
    made = bench() if wanted == "bench" else {"speculation": speculation, "growth": growth}[wanted](count)
    sys.stdout.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in made)

"""The items of the serving lab: six families of short questions whose right answers hold by construction.

`python -m lab.items 25 > items.jsonl` writes 25 of each; the same call gives the same bytes, and a longer list
begins with the shorter one. One item is
`{"item", "task", "wording", "prompt", "gold", "scorer", "choices"}`. Every family has three wordings; an item is one
question in one wording, after four or more worked examples (the models are tiny and need them). Drawn from a seeded
generator over closed lists written for this purpose; nothing is taken from a published benchmark.
"""

from __future__ import annotations

import itertools
import json
import random
import sys
from collections.abc import Iterator

SEED = 20261123
PER_FAMILY = 34

CAPITALS = (
    "Spain Madrid, Germany Berlin, Japan Tokyo, Egypt Cairo, Russia Moscow, Greece Athens, Norway Oslo, Poland Warsaw, "
    "Portugal Lisbon, Sweden Stockholm, Finland Helsinki, Austria Vienna, Ireland Dublin, Denmark Copenhagen, "
    "Hungary Budapest, Turkey Ankara, Thailand Bangkok, Cuba Havana, Peru Lima, Chile Santiago, Kenya Nairobi, "
    "Belgium Brussels, Romania Bucharest, Iran Tehran, Iraq Baghdad, Vietnam Hanoi, Canada Ottawa, "
    "Australia Canberra, Bulgaria Sofia, Croatia Zagreb, Serbia Belgrade, Lebanon Beirut, Syria Damascus, "
    "Afghanistan Kabul, Nepal Kathmandu, Ghana Accra, Senegal Dakar, Tunisia Tunis, Iceland Reykjavik"
)
OPPOSITES = (
    "big small, up down, fast slow, happy sad, open closed, early late, full empty, rich poor, hard soft, old young, "
    "strong weak, day night, left right, light dark, wet dry, clean dirty, near far, high low, thick thin, "
    "wide narrow, alive dead, true false, first last, inside outside, love hate, win lose, buy sell, push pull, "
    "always never, loud quiet, good bad, black white, long short, heavy light, deep shallow, brave cowardly, "
    "arrive depart, expensive cheap, north south, begin end"
)
KINDS = {
    "animal": "dog horse tiger rabbit elephant sheep wolf monkey goat lion",
    "food": "bread cheese rice soup pizza banana carrot cake potato apple",
    "vehicle": "car bus train bicycle truck boat airplane taxi tram scooter",
    "clothing": "shirt hat jacket shoes dress sock glove scarf coat trousers",
}
PRAISE = ("wonderful", "excellent", "great", "lovely", "perfect", "fantastic", "delicious", "friendly")
BLAME = ("terrible", "awful", "boring", "horrible", "rude", "broken", "dirty", "disappointing")
SUBJECTS = (
    "the film", "the meal", "the hotel room", "the service", "the book", "the concert", "the phone", "the coffee",
)  # fmt: skip
PEOPLE = ("Anna", "Ben", "Carla", "David", "Emma", "Frank", "Grace", "Henry")
COLOURS = ("red", "blue", "green", "yellow", "black", "white", "brown", "pink")
THINGS = ("car", "bag", "hat", "cup", "bike", "chair")


def _pairs(text: str) -> list[tuple[str, str]]:
    return [(first, second) for first, second in (pair.split() for pair in text.split(", "))]


def _turns(form: str, solved: list[tuple[dict, str]], fields: dict) -> tuple[list[list[str]], str]:
    """The worked examples as question and answer, and the question, all in the same form."""
    return [[form.format(**f), gold] for f, gold in solved], form.format(**fields)


def capitals(draw: random.Random) -> Iterator[dict]:
    """Which city is the capital?"""
    forms = (
        "Question: What is the capital of {x}?\nAnswer:",
        "Country: {x}\nCapital:",
        "Q: Name the capital city of {x}.\nA:",
    )
    solved = [({"x": x}, y) for x, y in _pairs("France Paris, Italy Rome, China Beijing, England London")]
    pool = _pairs(CAPITALS)
    draw.shuffle(pool)
    for number, (country, city) in enumerate(pool):
        wording = number % len(forms)
        yield _item("capital", number, wording, _turns(forms[wording], solved, {"x": country}), city, "exact")


def opposites(draw: random.Random) -> Iterator[dict]:
    """Which word is the opposite?"""
    forms = ("Word: {x}\nOpposite:", "Question: What is the opposite of {x}?\nAnswer:", "The opposite of {x} is")
    solved = [({"x": x}, y) for x, y in _pairs("hot cold, tall short, tight loose, smooth rough, top bottom, yes no")]
    pool = _pairs(OPPOSITES)
    draw.shuffle(pool)
    for number, (word, opposite) in enumerate(pool):
        wording = number % len(forms)
        yield _item("opposite", number, wording, _turns(forms[wording], solved, {"x": word}), opposite, "exact")


def kinds(draw: random.Random) -> Iterator[dict]:
    """Is the thing an animal, a food, a vehicle or a piece of clothing?"""
    forms = (
        "Word: {x}\nKind:",
        "Question: Is {x} an animal, a food, a vehicle or clothing?\nAnswer:",
        "{x}:",
    )
    worked = "cat animal, egg food, van vehicle, belt clothing, meat food, skirt clothing, cow animal, ship vehicle"
    solved = [({"x": x}, y) for x, y in _pairs(worked)]
    pool = [(word, kind) for kind, words in KINDS.items() for word in words.split()]
    draw.shuffle(pool)
    for number, (word, kind) in enumerate(pool):
        wording = number % len(forms)
        prompt = _turns(forms[wording], solved, {"x": word})
        yield _item("kind", number, wording, prompt, kind, "choice", sorted(KINDS))


def sentiments(draw: random.Random) -> Iterator[dict]:
    """Is the review positive or negative?"""
    forms = ("Review: {x}\nSentiment:", "Text: {x}\nIs this positive or negative?", "Comment: {x}\nLabel:")
    solved = [
        ({"x": "The staff were kind and helpful."}, "positive"),
        ({"x": "It stopped working after one day."}, "negative"),
        ({"x": "I want my money back."}, "negative"),
        ({"x": "We enjoyed every minute of it."}, "positive"),
        ({"x": "The soup was cold and bland."}, "negative"),
        ({"x": "I love my new bike."}, "positive"),
        ({"x": "The journey was awful."}, "negative"),
    ]
    templates = (
        "I thought {s} was {a}.",
        "{S} was {a}, as everyone had told me.",
        "My friends said {s} was {a}, and they were right.",
    )
    pool = [(s, a, w < len(PRAISE)) for s in SUBJECTS for w, a in enumerate([*PRAISE, *BLAME])]
    draw.shuffle(pool)
    for number, (subject, word, praise) in enumerate(pool):
        wording = number % len(forms)
        template = templates[draw.randrange(len(templates))]
        negated = draw.random() < 0.25
        adjective = f"not {word} at all" if negated else word
        text = template.format(s=subject, S=subject.capitalize(), a=adjective)
        gold = "positive" if praise != negated else "negative"
        prompt = _turns(forms[wording], solved, {"x": text})
        yield _item("sentiment", number, wording, prompt, gold, "choice", ["negative", "positive"])


def lookups(draw: random.Random) -> Iterator[dict]:
    """Which colour was named for this person, one or two facts back?"""
    forms = (
        "{facts}\nQuestion: What color is {x}'s {t}?\nAnswer:",
        "Facts: {facts}\nThe color of {x}'s {t}:",
        "{facts} What color is the {t} of {x}?\nColor:",
    )

    def case(people: list[str]) -> tuple[dict, str]:
        thing = draw.choice(THINGS)
        colours = draw.sample(COLOURS, len(people))
        facts = " ".join(f"{p} has a {c} {thing}." for p, c in zip(people, colours, strict=True))
        asked = draw.randrange(len(people))
        return {"facts": facts, "x": people[asked], "t": thing}, colours[asked]

    for number in itertools.count():
        wording = number % len(forms)
        solved = [case(draw.sample(PEOPLE, 2)) for _ in range(3)]
        fields, gold = case(draw.sample(PEOPLE, 2))
        yield _item("lookup", number, wording, _turns(forms[wording], solved, fields), gold, "choice", COLOURS)


def sums(draw: random.Random) -> Iterator[dict]:
    """How much is a + b, both below ten?"""
    forms = ("{a} + {b} =", "Question: What is {a} plus {b}?\nAnswer:", "{a} plus {b} equals")
    solved = [({"a": 1, "b": 2}, "3"), ({"a": 4, "b": 1}, "5"), ({"a": 5, "b": 5}, "10"), ({"a": 2, "b": 2}, "4")]
    pool = [(a, b) for a in range(1, 10) for b in range(1, 10) if (a, b) not in {(1, 2), (4, 1), (5, 5), (2, 2)}]
    draw.shuffle(pool)
    for number, (a, b) in enumerate(pool):
        wording = number % len(forms)
        yield _item("sum", number, wording, _turns(forms[wording], solved, {"a": a, "b": b}), str(a + b), "number")


FAMILIES = (capitals, opposites, kinds, sentiments, lookups, sums)


def _item(task: str, number: int, wording: int, turns: tuple, gold: str, scorer: str, choices=None) -> dict:
    name = f"{task}-{number:02d}-w{wording + 1}"
    row = {"item": name, "task": task, "wording": wording + 1, "examples": turns[0], "prompt": turns[1]}
    row |= {"gold": gold, "scorer": scorer}
    return row | ({"choices": list(choices)} if choices else {})


def items(count: int = PER_FAMILY) -> list[dict]:
    """`count` items of each family, in order; each family draws from its own generator, so no list moves another."""
    made = [family(random.Random(f"{SEED}/{family.__name__}")) for family in FAMILIES]
    return [row for rows in made for row in itertools.islice(rows, count)]


if __name__ == "__main__":
    listed = items(int(sys.argv[1]) if len(sys.argv) > 1 else PER_FAMILY)
    sys.stdout.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in listed)

"""Worlds of paired runs with known truth, and what an interval does in them: covers, is wide, raises a false alarm.

One run a side is counted exactly, over all numbers of flips; replicates and clusters are simulated. `truth` is the
difference AFTER - BEFORE over the population of items.
"""

import itertools
import math
import statistics

import numpy as np

from divergence.comparison import tango
from divergence.comparison.anytime import information, widening
from divergence.comparison.moves import limits, moves

CONFIDENCE = 0.95
ITEMS = (30, 50, 100, 220, 1000)
RATES = (0.0, 0.01, 0.05, 0.11, 0.3)
SHARES_DOWN = (0.5, 0.6, 0.75, 0.9, 1.0)
KINDS = ("copies", "noise", "mixed", "soft")
CLUSTERS = {
    "20 of 5": np.full(20, 5),
    "44 of 5": np.full(44, 5),
    "100 of 10": np.full(100, 10),
    "20 of 50": np.full(20, 50),
    "20 uneven": np.repeat([1, 2, 3, 4, 5, 8, 12], [3, 3, 3, 3, 3, 3, 2]),
}
ICC = 0.3


def flip_table(items):
    """Numbers of flips (down, up) that have any chance in the grid, shape (m,) each."""
    most = min(items, int(0.3 * items + 9 * math.sqrt(0.21 * items) + 10))
    down, up = np.meshgrid(np.arange(most + 1), np.arange(most + 1), indexing="ij")
    kept = down + up <= min(items, most)
    return down[kept], up[kept]


def chances(items, down, up, rate_down, rate_up):
    """The multinomial chance of every number of flips."""
    factorial = np.cumsum(np.concatenate([[0.0], np.log(np.arange(1, items + 1))]))

    def power(count, rate):
        return count * math.log(rate) if rate > 0 else np.where(count > 0, -np.inf, 0.0)

    same = items - down - up
    ways = factorial[items] - factorial[down] - factorial[up] - factorial[same]
    return np.exp(ways + power(down, rate_down) + power(up, rate_up) + power(same, 1 - rate_down - rate_up))


def counted(down, up, items):
    """The sums of binary flips, one group a world."""
    return moves_of(np.asarray(down, float), np.asarray(up, float), np.full(len(down), float(items)))


def moves_of(down, up, items):
    from divergence.comparison.moves import Moves

    return Moves(items, items, items, up - down, up + down, up + down)


def exact(items, margin=0.0):
    """By rate and share of flips down: exact coverage, and the chance of `worse` at the margin where half go each way."""
    down, up = flip_table(items)
    low, high = limits(counted(down, up, items), CONFIDENCE)
    found = []
    for rate, share in itertools.product(RATES, SHARES_DOWN):
        chance = chances(items, down, up, rate * share, rate * (1 - share))
        truth = rate * (1 - 2 * share)
        covered = (low <= truth + 1e-12) & (truth - 1e-12 <= high)
        worse = chance[high < -margin].sum() if share == 0.5 else math.nan
        found.append({"items": items, "rate": rate, "share": share, "covered": chance[covered].sum(), "worse": worse})
    return found


def powers(items):
    """By rate and share down: the chance that the interval excludes 0, and that exact McNemar (two-sided 5 %) refuses it."""
    down, up = flip_table(items)
    low, high = limits(counted(down, up, items), CONFIDENCE)
    total, least = down + up, np.minimum(down, up)
    size = int(total.max()) + 1
    tail = np.zeros((size, size))
    for n in range(size):
        tail[n, : n + 1] = np.cumsum([math.comb(n, k) / 2**n for k in range(n + 1)])
    p = np.minimum(1, 2 * tail[total, least])
    found = []
    for rate, share in itertools.product(RATES[1:], SHARES_DOWN):
        chance = chances(items, down, up, rate * share, rate * (1 - share))
        ours, theirs = chance[(low > 0) | (high < 0)].sum(), chance[p <= 1 - CONFIDENCE].sum()
        found.append({"items": items, "rate": rate, "share": share, "ours": ours, "mcnemar": theirs})
    return found


def widths(items):
    """The width of the interval over that of Tango's own, for every number of flips."""
    down, up = flip_table(items)
    low, high = limits(counted(down, up, items), CONFIDENCE)
    own = tango.limits(down, up, np.full(len(down), float(items)), statistics.NormalDist().inv_cdf((1 + CONFIDENCE) / 2))
    return (high - low) / (own[1] - own[0])


def replicated(generator, worlds, items, rate, replicates, kind, share):
    """Mean differences (worlds, items) of items answered `replicates` times a side, and the truth.

    `copies`: replicates repeat each other, a share of the flips goes down. `noise`: every item is equally unsure on both
    sides. `mixed`: half of the flips are of the one kind, half come from items that are tossed coins. `soft`: coins whose
    chance of a right answer falls. `rate` is how often one run before and one after disagree, up to what each kind allows.
    """
    shape = (worlds, items)

    def means(p):
        return generator.binomial(replicates, p, shape) / replicates

    chance = generator.random(shape)
    if kind == "copies":
        return np.where(chance < rate * share, -1.0, np.where(chance < rate, 1.0, 0.0)), rate * (1 - 2 * share)
    if kind == "noise":
        p = 1 - (1 - math.sqrt(1 - 2 * rate)) / 2
        return means(p) - means(p), 0.0
    if kind == "mixed":
        coin, whole = chance < rate, (chance >= rate) & (chance < 1.5 * rate)
        way = np.where(generator.random(shape) < share, -1.0, 1.0)
        return np.where(coin, means(0.5) - means(0.5), np.where(whole, way, 0.0)), 0.5 * rate * (1 - 2 * share)
    fall = 0.4 * (2 * share - 1)
    return np.where(chance < 2 * rate, means(0.5 - fall / 2) - means(0.5 + fall / 2), 0.0), -2 * rate * fall


def clustered(generator, worlds, sizes, rate, share):
    """Differences (worlds, items) whose flips are correlated (`ICC`) within clusters of the given sizes, and the truth."""
    spread = (1 - ICC) / ICC
    shares = np.array([rate * share, rate * (1 - share), 1 - rate]) * spread
    drawn = generator.gamma(np.maximum(shares, 1e-300), size=(worlds, len(sizes), 3))
    law = np.repeat(drawn / drawn.sum(2, keepdims=True), sizes, axis=1)
    chance = generator.random(law.shape[:2])
    down, up = law[..., 0], law[..., 0] + law[..., 1]
    return np.where(chance < down, -1.0, np.where(chance < up, 1.0, 0.0)), rate * (1 - 2 * share)


def covered(differences, truth, cluster=None):
    """The share of worlds (rows) whose interval holds the truth."""
    worlds, items = differences.shape
    group = np.repeat(np.arange(worlds), items)
    units = None if cluster is None else np.tile(cluster, worlds)
    low, high = limits(moves(differences.ravel(), group, units), CONFIDENCE)
    return float(((low <= truth + 1e-12) & (truth - 1e-12 <= high)).mean())


def replicate_grid(generator, worlds):
    """Coverage in every world of replicates: items, rate, replicates, kind, share, covered, and the worlds drawn."""
    for items, rate, replicates, kind in itertools.product(ITEMS, RATES, (2, 5), KINDS):
        for share in (0.5,) if kind == "noise" else (0.5, 0.75, 1.0):
            drawn = worlds if items < 1000 else max(worlds // 4, 1)
            inside = covered(*replicated(generator, drawn, items, rate, replicates, kind, share))
            row = {"items": items, "rate": rate, "replicates": replicates, "kind": kind, "share": share}
            yield row | {"covered": inside, "worlds": drawn}


def cluster_grid(generator, worlds):
    """Coverage in every world of clusters: clusters, rate, share, covered, and how many independent flips are expected."""
    for name, sizes in CLUSTERS.items():
        cluster = np.repeat(np.arange(len(sizes)), sizes)
        design = 1 + ((sizes**2).sum() / sizes.sum() - 1) * ICC
        for rate, share in itertools.product(RATES[1:], (0.5, 0.75, 1.0)):
            inside = covered(*clustered(generator, worlds, sizes, rate, share), cluster)
            row = {"clusters": name, "rate": rate, "share": share, "flips": sizes.sum() * rate / design}
            yield row | {"covered": inside, "worlds": worlds}


def false_worse_ever(generator, worlds, looks, rate, kind, margin=1e-4):
    """The share of A/A worlds in which any of the looks says `worse`, at a margin of almost nothing.

    `items`: every look brings 20 new items. `nights`: 220 items are asked again every night, the reference run stands.
    """
    alarms = 0
    for _ in range(worlds):
        if kind == "items":
            chance = generator.random(20 * looks)
            d = np.where(chance < rate / 2, -1.0, np.where(chance < rate, 1.0, 0.0))
            seen = [d[: 20 * (k + 1)] for k in range(looks)]
        else:
            p = np.where(generator.random(220) < 2 * rate, 0.5, generator.integers(0, 2, 220).astype(float))
            before = (generator.random(220) < p).astype(float)
            after = np.cumsum(generator.random((looks, 220)) < p, axis=0) / np.arange(1, looks + 1)[:, None]
            seen = list(after - before)
        alarms += _ever(seen, margin)
    return alarms / worlds


def _ever(seen, margin):
    """Does any look say worse? All looks are judged at once."""
    sizes = np.array([len(d) for d in seen])
    group = np.repeat(np.arange(len(seen)), sizes)
    whole = moves(np.concatenate(seen), group)
    level = [information(pick(whole, k)) for k in range(len(seen))]
    wide = np.array([widening(now, level[0], CONFIDENCE) for now in level])
    return bool((limits(whole, CONFIDENCE, wide)[1] < -margin).any())


def pick(whole, k):
    """One group of several."""
    from divergence.comparison.moves import Moves

    names = ("items", "units", "effective", "total", "absolute", "square")
    return Moves(*(getattr(whole, name)[[k]] for name in names), scale=whole.scale)

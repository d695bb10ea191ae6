"""Streams of requests whose truth is known: marginals that stay, couplings that change, and the reverse.

Question: does a drift monitor see a change of *structure* when no column moves, stay silent when nothing changes, and not
call a moved column a changed structure? One row is one request: seven telemetry signals with fixed marginals (a Gaussian
copula, in `tail` a t copula after the change), a route, a prompt class, a calibrated probability and its outcome. The
stream follows the reference without a break in time; scenario `null_ar` has rows that depend on each other (AR(1), .8).

| scenario | what changes at chunk `change` of the stream |
|---|---|
| `null`, `null_ar` | nothing |
| `coupling` | six of 21 rank couplings (`REWIRED`), every marginal the same |
| `coupling_weak` | one of them, queue with time to first token .75 -> .55 |
| `tail` | Gaussian copula -> t copula, 2.5 degrees of freedom: nearly the same correlations, joint extremes |
| `route_mix` | the marginal law of the route |
| `route_affinity` | P(route given class); P(route), P(class) and the accuracy stay |
| `mean_shift` | time to first token x1.12, time per output token x1.05 |
| `phase_offset` | queue leads error rate by 4 rows instead of 1; marginals and the correlation of the same row stay |
| `decay` | the coupling of queue with time to first token loses .02 a chunk from `change` on: drift that compounds |

Source of the scenarios: the measurements in the drift note (benchmarks/drift.md).
"""

from __future__ import annotations

import datetime as dt

import numpy as np
import polars as pl
from scipy import stats

from divergence.errors import InputError

SCENARIOS = (
    "null",
    "null_ar",
    "coupling",
    "coupling_weak",
    "tail",
    "route_mix",
    "route_affinity",
    "mean_shift",
    "phase_offset",
    "decay",
)
"""The names that `stream` knows; the first eight are those of the false-alarm and detection table."""

SIGNALS = ("throughput", "queue", "kv_use", "ttft", "tpot", "error_rate", "preemptions")
"""The numeric signals of a row, in the order of the correlation matrix."""

REWIRED = {
    ("queue", "ttft"): (0.75, 0.15),
    ("kv_use", "preemptions"): (0.60, 0.05),
    ("queue", "tpot"): (0.30, 0.60),
    ("throughput", "tpot"): (0.35, -0.30),
    ("kv_use", "ttft"): (0.45, 0.10),
    ("tpot", "preemptions"): (0.40, 0.10),
}
"""Latent correlation before and after the change of scenario `coupling`, by pair of signals."""

_STEADY = {("throughput", "queue"): 0.2, ("queue", "kv_use"): 0.4, ("ttft", "tpot"): 0.3, ("queue", "preemptions"): 0.3}
_WEAK = {("queue", "ttft"): 0.55}
_LOADING = 0.55  # of the leading signal in scenario phase_offset: a lagged coupling as strong as the strong ones above
_LAGS = (1, 4)  # rows by which queue leads error_rate before and after the change
_AR = 0.8  # autocorrelation of the latent rows of null_ar
_DECAY = 0.02  # latent correlation lost a chunk in scenario decay
_TAIL_FREEDOM = 2.5
_START = dt.datetime(2026, 1, 5, tzinfo=dt.UTC)
_SPACING = dt.timedelta(seconds=2)  # between requests
_ROUTES = ("edge", "core", "burst", "spill")
_ROUTE = np.array([0.4, 0.3, 0.2, 0.1])
_MIXED = np.array([0.25, 0.3, 0.25, 0.2])
_LONG = 0.4  # share of prompt class long
_TILT = np.array([0.12, -0.12, 0.08, -0.08])  # of P(route | long) in route_affinity; P(route | short) gives it back


def correlation(changes: dict[tuple[str, str], float] | None = None) -> np.ndarray:
    """Latent correlation of the signals, shape (7, 7), before the change or with `changes` put in."""
    matrix = np.eye(len(SIGNALS))
    values = _STEADY | {pair: before for pair, (before, _) in REWIRED.items()} | (changes or {})
    for (one, other), value in values.items():
        i, j = SIGNALS.index(one), SIGNALS.index(other)
        matrix[i, j] = matrix[j, i] = value
    return matrix


def changed_edges(scenario: str) -> set[frozenset[str]]:
    """The pairs of signals whose dependence changes in a scenario: the truth of an attribution."""
    if scenario == "coupling":
        return {frozenset(pair) for pair in REWIRED}
    if scenario == "tail":
        return {frozenset((a, b)) for n, a in enumerate(SIGNALS) for b in SIGNALS[n + 1 :]}
    if scenario == "phase_offset":  # error_rate follows queue, and so whatever goes with queue
        row = correlation()[SIGNALS.index("queue")]
        return {frozenset((name, "error_rate")) for name, r in zip(SIGNALS, row, strict=True) if r and name != "error_rate"}
    known = {"coupling_weak": ("queue", "ttft"), "decay": ("queue", "ttft"), "route_affinity": ("route", "class")}
    return {frozenset(known[scenario])} if scenario in known else set()


def stream(
    scenario: str,
    seed: int,
    reference_rows: int = 10_000,
    chunks: int = 40,
    chunk_rows: int = 500,
    change: int = 20,
) -> pl.DataFrame:
    """Reference rows followed by `chunks` x `chunk_rows` of the stream, in order of `time`; same arguments, same rows.

    The change happens at row `reference_rows + change * chunk_rows`. Columns: `time`, the seven `SIGNALS`, `route`,
    `class`, `predicted` (a calibrated probability of success) and `score` (0 or 1).

    >>> stream("coupling", seed=0, reference_rows=1000, chunks=4, chunk_rows=100, change=2).shape
    (1400, 12)
    """
    if scenario not in SCENARIOS:
        raise InputError(f"the scenario {scenario!r} is not known; choose one of {', '.join(SCENARIOS)}")
    rng = np.random.default_rng(np.random.SeedSequence([SCENARIOS.index(scenario), seed]))
    start = reference_rows + min(change, chunks) * chunk_rows
    rows = reference_rows + chunks * chunk_rows
    after = np.arange(rows) >= start
    uniform = stats.norm.cdf(_latent(scenario, rows, start, chunk_rows, rng))
    if scenario == "tail":
        uniform[after] = _t_copula(rng, rows - start)
    columns = _telemetry(uniform)
    if scenario == "mean_shift":
        columns["ttft"][after] *= 1.12
        columns["tpot"][after] *= 1.05
    route, long = _routed(scenario, after, rng)
    predicted = rng.beta(8, 2.4, rows)
    return pl.DataFrame(
        {
            "time": pl.datetime_range(
                _START, _START + _SPACING * (rows - 1), _SPACING, time_unit="us", time_zone="UTC", eager=True
            ),
            **columns,
            "route": np.array(_ROUTES)[route],
            "class": np.where(long, "long", "short"),
            "predicted": predicted,
            "score": (rng.random(rows) < predicted).astype(float),
        }
    )


def _latent(scenario: str, rows: int, start: int, chunk_rows: int, rng: np.random.Generator) -> np.ndarray:
    """Standard normal rows, shape (rows, 7), with the correlations of the scenario before and after `start`."""
    noise = rng.standard_normal((rows, len(SIGNALS)))
    if scenario == "null_ar":
        for row in range(1, rows):
            noise[row] = _AR * noise[row - 1] + np.sqrt(1 - _AR**2) * noise[row]
    latent = noise @ np.linalg.cholesky(correlation()).T
    if scenario in ("coupling", "coupling_weak"):
        changes = _WEAK if scenario == "coupling_weak" else {pair: after for pair, (_, after) in REWIRED.items()}
        latent[start:] = noise[start:] @ np.linalg.cholesky(correlation(changes)).T
    if scenario == "decay":
        for number, first in enumerate(range(start, rows, chunk_rows), start=1):
            now = max(REWIRED["queue", "ttft"][0] - _DECAY * number, 0.0)
            part = slice(first, first + chunk_rows)
            latent[part] = noise[part] @ np.linalg.cholesky(correlation({("queue", "ttft"): now})).T
    if scenario == "phase_offset":
        queue, error = SIGNALS.index("queue"), SIGNALS.index("error_rate")
        lag = np.where(np.arange(rows) < start, *_LAGS)
        led = latent[np.maximum(np.arange(rows) - lag, 0), queue]
        latent[:, error] = _LOADING * led + np.sqrt(1 - _LOADING**2) * noise[:, error]
    return latent


def _t_copula(rng: np.random.Generator, rows: int) -> np.ndarray:
    normal = rng.standard_normal((rows, len(SIGNALS))) @ np.linalg.cholesky(correlation()).T
    scale = np.sqrt(rng.chisquare(_TAIL_FREEDOM, (rows, 1)) / _TAIL_FREEDOM)
    return stats.t.cdf(normal / scale, _TAIL_FREEDOM)


def _telemetry(uniform: np.ndarray) -> dict[str, np.ndarray]:
    """The signals in their units: tokens/s, requests, fraction, s, s, fraction, count."""
    laws = (
        stats.lognorm(s=0.35, scale=900.0),
        stats.nbinom(2.0, 0.15),
        stats.beta(6.0, 3.0),
        stats.lognorm(s=0.5, scale=0.35),
        stats.gamma(9.0, scale=0.0035),
        stats.beta(0.6, 40.0),
        stats.poisson(1.5),
    )
    uniform = np.clip(uniform, 1e-12, 1 - 1e-12)
    return {name: law.ppf(uniform[:, n]).astype(float) for n, (name, law) in enumerate(zip(SIGNALS, laws, strict=True))}


def _routed(scenario: str, after: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Route number and whether the prompt class is long, one a row."""
    rows = len(after)
    long = rng.random(rows) < _LONG
    before = np.tile(_ROUTE, (rows, 1))
    if scenario == "route_mix":
        before[after] = _MIXED
    if scenario == "route_affinity":
        before[after & long] = _ROUTE + _TILT
        before[after & ~long] = _ROUTE - _TILT * _LONG / (1 - _LONG)
    return (rng.random((rows, 1)) > before.cumsum(1)[:, :3]).sum(1), long

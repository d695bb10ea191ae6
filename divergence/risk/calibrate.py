"""Are risks right as probabilities, and if not, which map makes them so?

| name | map of the risk p | numbers kept |
|---|---|---|
| `none` | p | |
| `platt` | sigma(a logit p + b) (Platt 1999) | a, b |
| `beta` | sigma(a log p - b log(1 - p) + c), a, b >= 0 (Kull, Silva Filho and Flach 2017) | a, b, c |
| `isotonic` | the best non-decreasing step function, linear between steps | knots |
| `venn_abers` | p1 / (1 - p0 + p1); p0, p1 = isotonic fits with the request added as a success or a failure: one of them is
    calibrated whatever the law (inductive Venn-Abers: Vovk and Petej 2014) | steps |

All are fitted on rows held out from the posterior. The choice is by logarithmic score, cross-validated over whole
clusters (sessions, else items): the simplest map (in the order above) whose score is within one standard error of the
best. A posterior's risk that is right already is therefore left alone. Calibrators are plain numbers.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from divergence.numerics import expit, logit
from divergence.random_streams import stream

NAMES = ("none", "platt", "beta", "isotonic", "venn_abers")
EDGE = 1e-6  # risks are kept this far from 0 and 1, so that one surprise costs 14 nats and not infinity
FOLDS = 5
KNOTS_MAX = 512  # of Venn-Abers, whose fit is quadratic in them: beyond, neighbours of equal weight share a knot
ROWS_MIN = {"none": 0, "platt": 50, "beta": 100, "isotonic": 1000, "venn_abers": 200}
"""Judged rows below which a map is not tried: step functions need more than two coefficients do."""


@dataclasses.dataclass(frozen=True)
class Calibrator:
    """A non-decreasing map of risks, as plain numbers."""

    name: str
    """One of `NAMES`."""
    numbers: dict[str, tuple[float, ...]]
    """Its coefficients or knots; none for `none`."""

    def __call__(self, risk: np.ndarray) -> np.ndarray:
        """The calibrated risk."""
        risk = np.asarray(risk, float)
        if self.name == "none":
            return risk
        p = np.clip(risk, EDGE, 1 - EDGE)
        get = {k: np.array(v) for k, v in self.numbers.items()}
        if self.name == "platt":
            return expit(get["a"] * logit(p) + get["b"])
        if self.name == "beta":
            return expit(get["a"] * np.log(p) - get["b"] * np.log1p(-p) + get["c"])
        if self.name == "isotonic":
            return np.interp(risk, get["x"], get["y"])
        low, high = self.bounds(risk)
        return high / (1 - low + high)

    def bounds(self, risk: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The two Venn-Abers probabilities p0 <= p1; the calibrated risk twice for the other maps."""
        if self.name != "venn_abers":
            same = self(risk)
            return same, same
        x, p0, p1 = (np.array(self.numbers[k]) for k in ("x", "p0", "p1"))
        # Place 2 k + 1 is knot k itself, place 2 k the gap before it.
        place = np.searchsorted(x, risk, side="left") + np.searchsorted(x, risk, side="right")
        return p0[place], p1[place]

    def to_json(self) -> dict:
        """Name and numbers."""
        return {"name": self.name, "numbers": {k: list(v) for k, v in self.numbers.items()}}

    @classmethod
    def from_json(cls, words: dict) -> Calibrator:
        """The calibrator that `to_json` wrote."""
        return cls(words["name"], {k: tuple(v) for k, v in words["numbers"].items()})


def fit_calibrator(name: str, risk: np.ndarray, failure: np.ndarray, weight: np.ndarray | None = None) -> Calibrator:
    """Fit one map to judged rows: `failure` in 0..1, `weight` trials (times a density ratio under covariate shift)."""
    weight = np.ones(len(risk)) if weight is None else np.asarray(weight, float)
    x, where = np.unique(risk, return_inverse=True)
    n = np.bincount(where.ravel(), weight)
    y = np.bincount(where.ravel(), weight * failure)
    if name == "none":
        return Calibrator(name, {})
    if name in ("platt", "beta"):
        return Calibrator(name, _logistic(name, x, n, y))
    if name == "isotonic":
        fitted = _isotonic(y / n, n)
        return Calibrator(name, {"x": tuple(x.tolist()), "y": tuple(fitted.tolist())})
    return Calibrator(name, _venn_abers(x, n, y))


def choose_calibrator(
    risk: np.ndarray, failure: np.ndarray, cluster: np.ndarray, weight: np.ndarray | None = None
) -> tuple[Calibrator, dict[str, float]]:
    """The map chosen by cross-validated logarithmic score over whole clusters, and every map's mean score in nats."""
    weight = np.ones(len(risk)) if weight is None else np.asarray(weight, float)
    names = [name for name in NAMES if len(risk) >= ROWS_MIN[name]]
    _, unit = np.unique(cluster, return_inverse=True)
    unit = unit.ravel()
    fold = stream(0, "calibration folds").permutation(unit.max() + 1)[unit] % FOLDS
    scores = {}
    for name in names:
        predicted = np.empty(len(risk))
        for k in range(FOLDS):
            fitted = fit_calibrator(name, risk[fold != k], failure[fold != k], weight[fold != k])
            predicted[fold == k] = fitted(risk[fold == k])
        scores[name] = log_score(predicted, failure)
    total = weight.sum()
    means = {name: float(weight @ s / total) for name, s in scores.items()}
    best = min(means, key=means.__getitem__)
    for name in names:
        lost = np.bincount(unit, weight * (scores[name] - scores[best]))
        if means[name] - means[best] <= np.sqrt((lost**2).sum()) / total:
            return fit_calibrator(name, risk, failure, weight), means
    return fit_calibrator(best, risk, failure, weight), means


def log_score(risk: np.ndarray, failure: np.ndarray) -> np.ndarray:
    """Minus the log likelihood of each row, nats; log_score(.5, 1) = .6931472."""
    p = np.clip(risk, EDGE, 1 - EDGE)
    return -(failure * np.log(p) + (1 - failure) * np.log1p(-p))


def effective_size(weight: np.ndarray) -> float:
    """How many equally weighted rows these are worth: (sum w)^2 / sum w^2; 4 equal weights give 4."""
    return float(weight.sum() ** 2 / (weight**2).sum())


def _logistic(name: str, x: np.ndarray, n: np.ndarray, y: np.ndarray) -> dict[str, tuple[float, ...]]:
    import scipy.optimize  # here, because scoring with a finished model needs none of it

    p = np.clip(x, EDGE, 1 - EDGE)
    columns = [logit(p)] if name == "platt" else [np.log(p), -np.log1p(-p)]
    design = np.stack([*columns, np.ones(len(p))], 1)
    # One success and one failure more keep the coefficients finite where the classes separate (Platt's own remedy).
    rate, total = (y + n / n.sum()) / (n + 2 * n / n.sum()), n + 2 * n / n.sum()

    def loss(b: np.ndarray) -> tuple[float, np.ndarray]:
        eta = design @ b
        return float(total @ (np.logaddexp(0, eta) - rate * eta)), design.T @ (total * (expit(eta) - rate))

    begin = np.r_[np.ones(len(columns)), 0.0]
    bounds = [(0.0, None)] * len(columns) + [(None, None)]  # a map that turns risks around would be no calibration
    b = scipy.optimize.minimize(loss, begin, jac=True, method="L-BFGS-B", bounds=bounds, options={"gtol": 1e-10}).x
    return {key: (float(v),) for key, v in zip(("a", "b", "c") if name == "beta" else ("a", "b"), b, strict=True)}


def _isotonic(value: np.ndarray, weight: np.ndarray) -> np.ndarray:
    import scipy.optimize

    return scipy.optimize.isotonic_regression(value, weights=weight).x


def _venn_abers(x: np.ndarray, n: np.ndarray, y: np.ndarray) -> dict[str, tuple[float, ...]]:
    """p0 and p1 at each knot and in each gap, by fitting again with the request added."""
    if len(x) > KNOTS_MAX:
        group = np.minimum((np.cumsum(n) - n / 2) / n.sum() * KNOTS_MAX, KNOTS_MAX - 1).astype(int)
        _, group = np.unique(group, return_inverse=True)
        total = np.bincount(group, n)
        x, n, y = np.bincount(group, n * x) / total, total, np.bincount(group, y)
    steps = {"p0": [], "p1": []}
    for place in range(2 * len(x) + 1):
        k, at_knot = divmod(place, 2)
        for label, name in ((0.0, "p0"), (1.0, "p1")):
            weight, value = n.copy(), y.copy()
            if at_knot:
                weight[k] += 1
                value[k] += label
            else:
                weight, value = np.insert(weight, k, 1.0), np.insert(value, k, label)
            steps[name].append(float(_isotonic(value / weight, weight)[k]))
    return {"x": tuple(x.tolist()), **{name: tuple(v) for name, v in steps.items()}}

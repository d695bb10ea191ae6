"""Calibrated risk of any tabular row, as a scikit-learn classifier: for features that no context label holds.

`RiskClassifier` fits a base classifier on part of the rows, chooses and fits the calibrator of `calibrate` on the rest
(whole groups where `groups` is given to `fit`: sessions, items), and answers with calibrated probabilities;
`predict_interval` gives the two Venn-Abers probabilities, between which a calibrated one lies. Columns of categories in a
pandas or Polars frame are taken as they are (`categories`); a row with a missing category, or a level that the fit never
saw, is not `predict_known`, and its interval is everything. Unit: probability of the second class.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_array, check_is_fitted, check_X_y, validate_data

from divergence.risk.calibrate import Calibrator, choose_calibrator, fit_calibrator
from divergence.risk.categories import Categories

CALIBRATION_MIN = 50  # rows below which nothing is split off: the base classifier then answers as it is


class RiskClassifier(ClassifierMixin, BaseEstimator):
    """A binary classifier whose probabilities are calibrated on rows (or whole groups) held out from its fit.

    Parameters: `estimator`, the base classifier (default: logistic regression on standardised features); `calibration`, the
    share of rows or groups held out (0..1); `random_state`, the seed of that split. `fit(X, y, groups=None)` takes rows by
    features (rows, features), and `predict_proba(X)` returns probabilities (rows, 2). Raises ValueError, as scikit-learn's
    classifiers do, for targets that are not two classes.

    >>> import numpy as np
    >>> import divergence as dv
    >>> rows = np.random.default_rng(0).normal(size=(400, 2))
    >>> dv.RiskClassifier(random_state=0).fit(rows, rows[:, 0] > 0).predict_proba(rows).shape
    (400, 2)
    """

    def __init__(self, estimator=None, calibration=0.3, random_state=None):
        self.estimator = estimator
        self.calibration = calibration
        self.random_state = random_state

    def fit(self, X, y, groups=None):
        """Fit base classifier and calibrator; rows of one of the `groups` are never on both sides."""
        self.categories_ = Categories.of(X)
        if self.categories_ is None:
            X, y = validate_data(self, X, y)
        else:
            validate_data(self, X, skip_check_array=True)
            X, y = check_X_y(self.categories_.encode(X)[0], y)
        check_classification_targets(y)
        self.classes_, code = np.unique(y, return_inverse=True)
        if len(self.classes_) > 2:
            raise ValueError(
                f"Only binary classification is supported. The type of the target is multiclass, with "
                f"{len(self.classes_)} classes: a risk has two outcomes."
            )
        if len(self.classes_) < 2:
            raise ValueError(f"Classifier can't train when only one class is present: {self.classes_[0]!r}.")
        held = self._held(len(code), code, groups)
        base = self.estimator if self.estimator is not None else make_pipeline(StandardScaler(), LogisticRegression())
        fresh: Any = clone(base)  # scikit-learn says that a clone may be a list of estimators
        self.estimator_ = fresh.fit(X[~held], code[~held])
        self.calibrator_, self.venn_abers_ = Calibrator("none", {}), Calibrator("none", {})
        if held.any():
            risk = self._raw(X[held])
            unit = np.asarray(groups)[held] if groups is not None else np.arange(held.sum())
            self.calibrator_, _ = choose_calibrator(risk, code[held].astype(float), unit)
            self.venn_abers_ = fit_calibrator("venn_abers", risk, code[held].astype(float))
        return self

    def predict_proba(self, X):
        """Calibrated probabilities of both classes, shape (rows, 2)."""
        check_is_fitted(self)
        risk = self.calibrator_(self._raw(self._rows(X)[0]))
        return np.stack([1 - risk, risk], 1)

    def predict(self, X):
        """The likelier class."""
        likelier = (self.predict_proba(X)[:, 1] > 0.5).astype(int)
        return self.classes_[likelier]

    def predict_interval(self, X):
        """Lower and upper Venn-Abers probability of `classes_[1]`, shape (rows, 2); 0 and 1 where nothing was held out, and
        for rows that are not known."""
        check_is_fitted(self)
        rows, known = self._rows(X)
        out = np.tile([0.0, 1.0], (len(rows), 1))
        if self.venn_abers_.name != "none" and known.any():
            out[known] = np.stack(self.venn_abers_.bounds(self._raw(rows[known])), 1)
        return out

    def predict_known(self, X):
        """Had the fit every category of a row? False where one is missing or new, shape (rows,)."""
        check_is_fitted(self)
        return self._rows(X)[1]

    def _rows(self, X) -> tuple[np.ndarray, np.ndarray]:
        """Features as numbers, and which rows are known."""
        if self.categories_ is None:
            rows = np.asarray(validate_data(self, X, reset=False))
            return rows, np.ones(len(rows), bool)
        rows, known = self.categories_.encode(X)
        validate_data(self, X, reset=False, skip_check_array=True)
        return check_array(rows), known

    def __sklearn_tags__(self):
        """Two classes only."""
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = False
        return tags

    def _raw(self, X) -> np.ndarray:
        return self.estimator_.predict_proba(X)[:, 1]

    def _held(self, rows: int, code: np.ndarray, groups) -> np.ndarray:
        """Rows to calibrate with; none where they, or the rest, would be too few or of one class."""
        if not 0 <= self.calibration < 1:
            raise ValueError(f"calibration is a share from 0 to below 1, not {self.calibration}")
        random = check_random_state(self.random_state)
        unit = np.arange(rows) if groups is None else np.unique(np.asarray(groups), return_inverse=True)[1].ravel()
        if len(unit) != rows:
            raise ValueError(f"groups has {len(unit)} entries for {rows} rows")
        chosen = random.permutation(unit.max() + 1) < self.calibration * (unit.max() + 1)
        held = chosen[unit]
        enough = held.sum() >= CALIBRATION_MIN and min(len(np.unique(code[held])), len(np.unique(code[~held]))) == 2
        return held if enough else np.zeros(rows, bool)

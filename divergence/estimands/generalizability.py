"""The two coefficients of generalizability theory, from variance components of any crossed design.

With object `m` (what is compared) and facets of which `n` conditions are averaged over, a component divided by the number
of conditions behind it is error: relative error `delta` for rankings holds the components that contain the object,
absolute error `Delta` for levels all of them.

    G = s2_m / (s2_m + delta),    Phi(lambda) = (s2_m + d^2) / (s2_m + d^2 + Delta),    d = mu - lambda,    Phi: d = 0

Example: m x i x r with variances m 12, i 6, r 4, mi 8, mr 10, ir 2, mir 24; 4 items, 2 raters: G .5454545, Phi .4660194.
Source: Cronbach et al. 1972; Brennan 2001; Phi(lambda): Brennan and Kane 1977.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

Variances = Mapping[str, np.ndarray]
"""Component -> variance (draws of it, or one number); a component is named by the letters of what it crosses."""


def relative(variances: Variances, sizes: Mapping[str, int], of: str = "m") -> np.ndarray:
    """G: share of the variance of observed differences between objects that is theirs; 0 where they do not differ at all."""
    return _share(variances[of], _error(variances, sizes, of, [k for k in variances if of in k]))


def dependability(
    variances: Variances, sizes: Mapping[str, int], of: str = "m", distance: float | np.ndarray = 0.0
) -> np.ndarray:
    """Phi, or Phi(lambda) for `distance` = mean over objects minus lambda: how sure a level is told from lambda.

    0 where nothing differs from anything: then no measurement tells levels apart.
    """
    return _share(variances[of] + distance**2, _error(variances, sizes, of, list(variances)))


def _share(signal: np.ndarray | float, error: np.ndarray) -> np.ndarray:
    total = np.asarray(signal + error, float)
    return np.divide(signal, total, out=np.zeros_like(total), where=total > 0)


def _error(variances: Variances, sizes: Mapping[str, int], of: str, names: list[str]) -> np.ndarray:
    facets = {name: np.prod([sizes[facet] for facet in name if facet != of]) for name in names if name != of}
    return np.sum([variances[name] / size for name, size in facets.items()], 0)

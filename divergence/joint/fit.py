"""`fit`: from cells to a posterior."""

from __future__ import annotations

import dataclasses
import functools
import platform
import time
from collections.abc import Callable, Sequence

import numpy as np

from divergence.calling import sentences
from divergence.cells import Cells
from divergence.cells.grades import grade_notes
from divergence.cells.overlap import deployed_regimes
from divergence.cells.telling_items import prepared
from divergence.errors import InputError
from divergence.identification.factor_levels import context_shares
from divergence.joint.aliases import alias_notes
from divergence.joint.arm_noise import kept_dense
from divergence.joint.arms import Arms, prior_centre
from divergence.joint.choice import choose_method
from divergence.joint.design import make_design, why_one_scale
from divergence.joint.importance import Importance
from divergence.joint.item_level import ItemLevel
from divergence.joint.laws import law_weights
from divergence.joint.linearisation import linearisation
from divergence.joint.methods import Sample
from divergence.joint.nuts import NUTS
from divergence.joint.posterior import Fit, Posterior, standard_deviations
from divergence.joint.problem import draw_effects, started, target_data
from divergence.joint.room import check_room, kept_draws
from divergence.joint.spec import Spec
from divergence.joint.standing_apart import apart_notes
from divergence.joint.unlike_models import unlike_notes
from divergence.numerics import combinations, one_blas_thread
from divergence.random_streams import stream

Method = Importance | ItemLevel | NUTS
CONSTANT = 1e-9  # relative standard errors below it are rounding
FALLBACK_ARMS_MAX = 128  # above it NUTS takes longer than somebody waits; the failed gate is shown instead


@sentences
def fit(
    cells: Cells | Sequence[Cells],
    *,
    spec: Spec | None = None,
    method: Method | None = None,
    seed: int = 0,
    progress: Callable[[str], None] | None = None,
) -> Posterior:
    """The joint posterior of one log's outcomes: what every question takes.

    `cells`: what `collapse` returns, one or a list of them (one an outcome, the primary one first). `spec`: terms and prior
    widths (`Spec`). `method`: `Importance()` or `NUTS()`; None = chosen by the log's design, and when its gates fail NUTS
    takes over if the log is small enough. `seed`: a whole number from 0, of every draw. `progress` is told each step in a
    few words.

    Returns a `Posterior` with its `diagnostics`. Raises InputError when nothing was judged, nothing differs, what a fit
    takes does not fit into memory, or the seed is no whole number.

    >>> import divergence as dv
    >>> from divergence.simulate import simulate, world
    >>> log = dv.read(simulate(world("baseline"), 0)[0])
    >>> dv.fit(dv.collapse(log), seed=0).passed
    True
    """
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise InputError(f"the seed must be a whole number from 0 on, not {seed!r}")
    spec = spec or Spec()
    several: list = list(cells) if isinstance(cells, list | tuple) else [cells]
    if not several:
        raise InputError("there is nothing to fit: no cells were given")
    strange = [type(c).__name__ for c in several if not isinstance(c, Cells)]
    if strange:
        raise InputError(f"fit takes Cells, one or a list of them, not {strange[0]}; make them with collapse(read(...))")
    if method is not None and not isinstance(method, Method):
        raise InputError(f"the method {method!r} is not known; choose Importance(), ItemLevel() or NUTS()")
    begin = time.process_time()
    with one_blas_thread():
        fits = tuple(_fit_one(c, spec, method, int(seed), progress or (lambda _: None)) for c in several)
    provenance = {
        "seed": int(seed),
        "methods": {f.cells.outcome: f"{f.method}: {f.why}; {f.cpu_seconds:g} CPU-s" for f in fits},
        "cpu_seconds": round(time.process_time() - begin, 3),
        "python": platform.python_version(),
        "platform": platform.machine(),
        "versions": _versions(),
    }
    return Posterior(fits, spec, provenance)


def _fit_one(cells: Cells, spec: Spec, method: Method | None, seed: int, progress: Callable[[str], None]) -> Fit:
    if not (cells.counts["n"] > 0).any():
        raise InputError(f"no row of the log has a judged {cells.outcome!r}; there is nothing to fit")
    progress("measuring arm levels")
    begin = time.process_time()
    cells = prepared(cells)
    _check_room(cells, spec)
    chosen, why = (method, "asked for") if method is not None else choose_method(cells, spec)
    arms = chosen.measure(cells, spec)
    if cells.kind != "binary" and _constant(arms):
        raise InputError(f"all values of {cells.outcome} are the same in every model and context; there is nothing to fit")
    design = make_design(cells, arms, spec)
    if design.has("delta"):
        one = why_one_scale(arms, design.n_models, spec)
        why += f"; all models have one instability scale ({one})" if one else "; each model has its own instability scale"
    progress("drawing from the posterior")
    found = linearisation(design, arms, spec)
    design, loadings, response, centre = found.design, found.loadings, found.response, prior_centre(arms)
    notes = (*alias_notes(design), *apart_notes(cells, design, arms, found.residuals), *grade_notes(cells))
    notes += unlike_notes(cells.levels["model"], found.own)
    cells = dataclasses.replace(cells, notes=(*cells.notes, *notes))
    data = started(target_data(design, response, found.telling, centre), found.mode)
    sample = chosen(data, seed)
    if method is None and not all(d.passed for d in sample.diagnostics) and len(arms) <= FALLBACK_ARMS_MAX:
        progress("a gate failed: drawing again with NUTS")
        sample, why = _better(sample, NUTS()(data, seed)), f"{why}; a gate failed and NUTS drew again"
    kept = kept_draws(design.size)
    if kept < len(sample.x) and arms.covariance is None:
        sample = dataclasses.replace(sample, x=sample.x[:kept])
        why += f"; {kept} draws are kept of so many effects"
    rng = stream(seed, "effects")
    effects = draw_effects(
        design, response, loadings, standard_deviations(design, sample.x), rng, centre, found.own.variance
    )
    wave = np.zeros((len(sample.x), 0))
    if len(arms.wave):
        wave = rng.multivariate_normal(arms.wave, arms.wave_covariance, len(sample.x), method="eigh")
    fitted = Fit(
        cells,
        arms,
        design,
        sample.x,
        response,
        effects,
        wave,
        (*sample.diagnostics, *arms.gates),
        f"{chosen.measurement}, {sample.method}",
        seed,
        why,
        round(time.process_time() - begin, 3),
    )
    if arms.deployed.any():  # a declared law that this log cannot serve is an error now, not when it is asked
        law_weights(fitted, "deployment")
    return fitted


def _check_room(cells: Cells, spec: Spec) -> None:
    """Before anything of the size of the effects is made: does it fit into memory?"""
    judged = cells.counts["n"] > 0
    keys = combinations(*(cells.counts[k][judged] for k in ("model", "regime", "context")))[0]
    if not kept_dense(keys[0]):
        contexts, most = np.unique(keys[1:], axis=1), int(np.bincount(keys[0]).max())
        check_room(len(cells.levels["model"]), len(np.unique(contexts[1])), keys.shape[1], 0, most)
        _, levels = context_shares(cells, np.stack([deployed_regimes(cells)[contexts[0]], contexts[1]], 1).astype(int))
        several = 0 if "context" in levels or not spec.interaction else sum(len(names) for names in levels.values())
        check_room(len(cells.levels["model"]), len(np.unique(contexts[1])), keys.shape[1], several, most)


def _constant(arms: Arms) -> bool:
    """Does no value differ from any other? A log of times may have one value in each arm; grades and fractions may not."""
    still = (arms.variance <= CONSTANT**2 * np.maximum(arms.level, 1e-300) ** 2).all()
    return bool(still and (arms.link == "log" or np.ptp(arms.level) <= CONSTANT))


def _better(first: Sample, second: Sample) -> Sample:
    """The sample that failed fewer gates."""
    failed = [sum(not d.passed for d in s.diagnostics) for s in (first, second)]
    return second if failed[1] <= failed[0] else first


@functools.cache
def _versions() -> dict[str, str]:
    from importlib.metadata import version

    return {name: version(name) for name in ("eval-divergence", "jax", "numpyro", "numpy", "polars", "scipy")}

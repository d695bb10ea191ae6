"""What a fit knows: draws, the design that gives them meaning, the cells they came from, and their diagnostics."""

from __future__ import annotations

import dataclasses
import functools
import pathlib

import numpy as np

from divergence.cells import Cells
from divergence.errors import InputError
from divergence.identification import LogDesign, log_design
from divergence.joint.arms import Arms, prior_centre
from divergence.joint.block_hierarchy import BlockHierarchy
from divergence.joint.coordinates import abilities, correlation, half_normal
from divergence.joint.design import Design, arm_loadings, free_terms, layout_of, local_term, model_term
from divergence.joint.hierarchy import Hierarchy
from divergence.joint.level_draws import level_draws, observed_level_draws
from divergence.joint.link import Response
from divergence.joint.methods import Diagnostic
from divergence.joint.problem import density_of, target_data
from divergence.joint.spec import Spec
from divergence.numerics import combinations


@dataclasses.dataclass(frozen=True, repr=False)
class Fit:
    """The posterior of one outcome."""

    cells: Cells
    """The sufficient statistics it was fitted to."""
    arms: Arms
    """The arm levels and their covariance."""
    design: Design
    """Which effect is where in `effects`."""
    x: np.ndarray
    """Draws of the model's coordinates, shape (S, dims)."""
    response: Response
    """What the hierarchy was conditioned on: working responses of the arms and their covariance."""
    effects: np.ndarray
    """Draws of all effects on the link scale, shape (S, P)."""
    wave: np.ndarray
    """Draws of the wave shifts on the link scale, shape (S, W); W = 0 where there are none."""
    diagnostics: tuple[Diagnostic, ...]
    """The gates of the sampling method."""
    method: str
    """How the draws were made."""
    seed: int
    """The seed of the fit, which bootstrap answers reuse."""
    why: str
    """Why this method, in one sentence."""
    cpu_seconds: float
    """Processor time of the fit, in seconds."""

    @property
    def scales(self) -> dict[str, np.ndarray]:
        """Draws of each term's standard deviation (and `rho`), (S,); of levels or models with own scales
        (S, levels). `tau_s` is the sd of the log of the models' own."""
        return standard_deviations(self.design, self.x)

    @property
    def counts(self) -> dict[str, int]:
        """Rows, items, sessions and contexts of the log."""
        counts = self.cells.counts
        known = counts["item"] >= 0
        items = combinations(counts["task"][known], counts["item"][known])[0]
        return {
            "n_rows": int(counts["rows"].sum()),
            "n_items": items.shape[1],
            "n_sessions": self.cells.n_sessions,
            "n_contexts": len(np.unique(self.design.contexts[:, 1])),
        }

    @functools.cached_property
    def log_design(self) -> LogDesign:
        """What the log can tell, counted from its cells without the fit."""
        return log_design(self.cells)

    @functools.cached_property
    def levels_of_new_items(self) -> tuple[np.ndarray, np.ndarray]:
        """Draws of every model's level in every bench context, and in every deployment context, on the outcome scale; shape
        (S, models, contexts) each. Made once, read only."""
        return level_draws(self)

    @functools.cached_property
    def levels_of_observed_items(self) -> tuple[np.ndarray, np.ndarray]:
        """The same for the items of the log themselves."""
        return observed_level_draws(self)

    def __repr__(self) -> str:
        sizes = ", ".join(f"{number} {name[2:]}" for name, number in self.counts.items())
        gates = "; ".join(f"{d.name} {d.value:.3g} ({'passed' if d.passed else 'FAILED'})" for d in self.diagnostics)
        how = f"{self.method} ({self.why}; {self.cpu_seconds:g} CPU-s)"
        return f"{self.cells.outcome}: {len(self.x)} draws, {how}, from {len(self.arms)} arms ({sizes}); {gates}"

    @property
    def described_method(self) -> str:
        """The method, and the gates that failed."""
        failed = [d.name for d in self.diagnostics if not d.passed]
        return self.method + (f"; FAILED: {', '.join(failed)}" if failed else "")


@dataclasses.dataclass(frozen=True, repr=False)
class Posterior:
    """The joint posterior of a log: one `Fit` an outcome. `fit` makes it, every question takes it.

    `posterior["latency_s"]` is the fit of one outcome (None = the primary one), with draws of the effects on the link
    scale, `effects` (draws, effects). `diagnostics` are the gates of the sampling and `passed` whether all were passed;
    `equations()` prints the model that was fitted.
    `save(folder)` writes it and `divergence.load(folder)` reads it; `to_arviz()` gives its draws to ArviZ. Raises
    InputError for an outcome that it was not fitted to.

    >>> import divergence as dv
    >>> from divergence.simulate import simulate, world
    >>> posterior = dv.fit(dv.collapse(dv.read(simulate(world("baseline"), 0)[0])), seed=0)
    >>> posterior.passed, posterior[None].effects.shape[0]
    (True, 2000)
    """

    fits: tuple[Fit, ...]
    """One an outcome, the primary outcome first."""
    spec: Spec
    """Terms and priors."""
    provenance: dict
    """Seed, versions, time; the command line adds the hashes of the data."""

    def __getitem__(self, outcome: str | None) -> Fit:
        """The fit of an outcome; None = the primary one."""
        if outcome is None:
            return self.fits[0]
        for one in self.fits:
            if one.cells.outcome == outcome:
                return one
        known = ", ".join(f.cells.outcome for f in self.fits)
        raise InputError(f"the posterior has no outcome {outcome!r}; it was fitted to {known}")

    @property
    def diagnostics(self) -> tuple[Diagnostic, ...]:
        """All gates of all outcomes."""
        return tuple(d for f in self.fits for d in f.diagnostics)

    @property
    def passed(self) -> bool:
        """Were all gates passed?"""
        return all(d.passed for d in self.diagnostics)

    def __repr__(self) -> str:
        return "\n".join(["Posterior of " + ", ".join(f.cells.outcome for f in self.fits), *map(repr, self.fits)])

    def _repr_html_(self) -> str:
        from divergence.joint.posterior_view import card_of

        return card_of(self)

    def equations(self, outcome: str | None = None) -> str:
        """The model of one outcome's fit (None = the primary one) as text: the terms that it has, with their priors.

        Raises InputError for an outcome that was not fitted.
        """
        from divergence.joint.equations import equations

        fit = self[outcome]
        return equations(fit.design, fit.arms, self.spec, fit.method.partition(",")[0])

    def save(self, folder: str | pathlib.Path) -> None:
        """Write the posterior as a folder of JSON and npz files; replaces an older one only when complete."""
        from divergence.joint.store import save

        save(self, pathlib.Path(folder))

    def to_arviz(self, outcome: str | None = None):
        """The draws of one outcome's fit (None = the primary one) as an ArviZ `DataTree`.

        | group | what | dimensions |
        |---|---|---|
        | `posterior` | standard deviations `sd_*` and effects, link scale | `chain`, `draw`; `model`, `context`, levels |
        | `prior` | the same before the log was seen | the same |
        | `observed_data` | `level` of each arm on the outcome's scale, its standard error, its number of clusters | `arm` |

        Arms carry `arm_model`, `arm_regime` and `arm_context`. Raises InputError for an outcome that was not fitted.
        """
        from divergence.joint.to_arviz import to_arviz

        fit = self[outcome]
        return to_arviz(fit, functools.partial(standard_deviations, fit.design), prior_centre(fit.arms))


def models_with_rows(fit: Fit, deployed: bool) -> np.ndarray:
    """Which models have judged rows in that regime, shape (models,)."""
    seen = np.zeros(fit.design.n_models, bool)
    seen[fit.arms.model[fit.arms.deployed == deployed]] = True
    return seen


def hierarchy_of(fit: Fit) -> Hierarchy | BlockHierarchy:
    """The density that the fit's coordinates were drawn from."""
    loadings, centre = arm_loadings(fit.design, fit.arms, telling=True), prior_centre(fit.arms)
    return density_of(target_data(fit.design, fit.response, loadings, centre))


def standard_deviations(design: Design, x: np.ndarray) -> dict[str, np.ndarray]:
    """Coordinates to standard deviations, exactly as in `numpyro_model.joint_model`."""
    width = design.term("theta_E").width
    sigma = abilities(x[:, :2], width)
    out = {"theta_E": sigma[:, 0], "theta_D": sigma[:, 1], "rho": correlation(x[:, 2])}
    free, layout = free_terms(design), layout_of(design)
    for k, term in enumerate(free):
        out[term.name] = half_normal(x[:, layout.term(k)], term.width)
    if local_term(design) is not None:
        out[free[0].name] = out[free[0].name][:, None] * np.exp(design.outlier * x[:, layout.own_levels])
    if model_term(design) is not None:
        out["tau_s"] = half_normal(x[:, layout.spread], design.instability)
        out["delta"] = out["delta"][:, None] * np.exp(out["tau_s"][:, None] * x[:, layout.models_own])
    return out

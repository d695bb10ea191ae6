"""The hierarchy as matrices: which effect enters which arm, and which standard deviation rules which effect.

Effects are one vector `b` (P,), arms are `eta = Z b`. Given the standard deviations everything is Gaussian, so an arm
level is `N(0, Z diag(v) Z' + V)` with `v` the effects' prior variances: the model samples the standard deviations only.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import scipy.sparse as sp

from divergence.cells import Cells
from divergence.cells.overlap import replaying_contexts, replays
from divergence.errors import InputError
from divergence.identification.factor_levels import context_shares
from divergence.joint.arms import Arms
from divergence.joint.coordinates import Layout
from divergence.joint.paired import TRUST
from divergence.joint.spec import Spec
from divergence.joint.terms import (
    Ability,
    ContextEffect,
    FactorLevel,
    FactorLevelOfModel,
    Intercept,
    Kind,
    OwnItems,
    OwnItemsOfModel,
    Places,
    Residual,
    Shift,
    StandsApart,
)

LOCAL_SCALES_MAX = 24  # contexts with a scale of their own: more coordinates than importance sampling likes

BOTH_SCALES_MAX = 18  # contexts and models with scales of their own: above it the models have them and contexts do not
# Contexts of each model from which on it has an instability scale of its own: n residuals say log s[m] to 1 / sqrt(2 n), .16
# at 20, half of the prior's own .34, so the data weigh four times the prior. With fewer each scale would be its prior.
CONTEXTS_EACH = 20


@dataclasses.dataclass(frozen=True)
class Term:
    """A block of exchangeable effects."""

    kind: Kind
    """What they are effects of, and how they enter the arms."""
    columns: slice
    """Where its effects lie in `b`."""
    width: float
    """Scale of the half-normal prior of its standard deviation; of a `given` kind the standard deviation itself."""

    @property
    def name(self) -> str:
        """`alpha`, `shift`, `own_items`, `own_items_of_model`, `theta_E`, `theta_D`, `beta:f`, `gamma:f`, `u`, `delta` or
        `apart:k`."""
        return self.kind.name


@dataclasses.dataclass(frozen=True)
class Design:
    """The loading matrix for any set of (model, regime, context), and the terms that own its columns."""

    terms: tuple[Term, ...]
    """Blocks of `b` in order; `theta_E` and `theta_D` are correlated, all others independent."""
    size: int
    """Number of effects P."""
    n_models: int
    """Number of models."""
    contexts: np.ndarray
    """(regime, context) pairs of the log in order, shape (contexts, 2)."""
    mixtures: dict[str, np.ndarray]
    """Per factor the share of each of its levels in each context, shape (contexts, levels)."""
    levels: dict[str, tuple[str, ...]]
    """Level names per factor, in the column order of `mixtures`."""
    reference: dict[str, int]
    """Per factor the level that has no effect of its own (that of the bench); -1 where all levels are alike."""
    plain: int
    """Index of the context label that has no residual of its own (a single bench context); -1 where there is none."""
    outlier: float = 0.0
    """Sd of the log of each level's own scale in `beta:context`; 0 = the term has one scale."""
    instability: float = 0.0
    """Prior width of the sd of the log of each model's own scale of `delta`; 0 = all models have one scale."""
    apart: tuple[tuple[int, int, int], ...] = ()
    """(model, context, regime) of the combinations with an effect and a scale of their own, `apart:0` and on: codes of model
    and context, regime 0 = evaluation, 1 = deployment, -1 = wherever the context occurs."""

    moved: np.ndarray | None = None
    """How many answers each context changes in each model, relative to the log's mean, shape (models, contexts). What a
    context does to a level is of that size: `beta:context` and `delta` are effects on a typical context, and the level
    of a context that changes hardly any answer is the bench's. None = all alike."""
    telling: np.ndarray | None = None
    """The same in the density of the standard deviations, shape (models, contexts): of the flip that `moved` adds to those
    seen only the share `paired.TRUST`, as of its noise. Taken whole, copies would say that flips move nothing."""
    hinged: bool = False
    """Do the common shift and the models' own shifts, too, scale with it? Where replayed contexts have but a label: contexts
    hurt more often than they help, each by as much as it changes answers."""

    @property
    def scaled(self) -> str:
        """The effects that `moved` multiplies, in words for the equations; '' where there are none."""
        if self.moved is None:
            return ""
        kinds = [term.kind for term in self.terms if self.hinged or not term.kind.of_deployment]
        return ", ".join(dict.fromkeys(kind.grows for kind in kinds if kind.grows))

    def term(self, name: str) -> Term:
        """The block of that name."""
        return next(t for t in self.terms if t.name == name)

    def has(self, name: str) -> bool:
        """Is the term in the model?"""
        return any(t.name == name for t in self.terms)

    def of_regime(self, deployed: bool) -> np.ndarray:
        """Indices into `contexts` of those in deployment, or of the bench's."""
        return np.flatnonzero(self.contexts[:, 0] == deployed)

    def loadings(
        self, model: np.ndarray, deployed: np.ndarray, context: np.ndarray, mixtures: dict[str, np.ndarray] | None = None
    ) -> np.ndarray:
        """Z for these arms, shape (arms, P); `context` indexes `contexts`. Other mixtures answer what-if questions."""
        return self.sparse_loadings(model, deployed, context, mixtures).toarray()

    def sparse_loadings(
        self, model: np.ndarray, deployed: np.ndarray, context: np.ndarray, mixtures: dict[str, np.ndarray] | None = None
    ) -> sp.csr_array:
        """The same without its zeros: of a thousand models an arm has a dozen effects, not thousands."""
        at, found = self._places(model, deployed, context, mixtures), []
        for term in self.terms:
            rows, columns, values = term.kind.loads(at)
            found.append((rows, term.columns.start + columns, values))
        rows, columns, values = (np.concatenate(part) for part in zip(*found, strict=True))
        z = sp.csr_array((values, (rows, columns)), shape=(len(model), self.size))
        z.eliminate_zeros()
        return z

    def with_apart(self, cells: tuple[tuple[int, int, int], ...], width: float) -> Design:
        """The design in which these combinations, too, have an effect and a scale of their own (see `apart`)."""
        first = len(self.apart)
        more = [
            Term(StandsApart(first + k, *cell), slice(self.size + k, self.size + k + 1), width)
            for k, cell in enumerate(cells)
        ]
        return dataclasses.replace(
            self, terms=(*self.terms, *more), size=self.size + len(cells), apart=(*self.apart, *cells)
        )

    def _places(
        self, model: np.ndarray, deployed: np.ndarray, context: np.ndarray, mixtures: dict[str, np.ndarray] | None
    ) -> Places:
        mixtures = mixtures or {f: m[context] for f, m in self.mixtures.items()}
        alike = np.ones(len(model))
        moved = alike if self.moved is None else self.moved[model, context]
        return Places(
            model,
            deployed,
            self.contexts[context, 1],
            self.contexts[context, 0],
            self._label[context],
            self._labels,
            self.plain,
            {f: self._effects(f, mixtures) for f in mixtures},
            moved,
            moved if self.hinged else alike,
        )

    def _effects(self, factor: str, mixtures: dict[str, np.ndarray]) -> np.ndarray:
        """Shares of the levels that have an effect, shape (arms, levels)."""
        reference = self.reference[factor]
        return mixtures[factor] if reference < 0 else np.delete(mixtures[factor], reference, axis=1)

    @property
    def _label(self) -> np.ndarray:
        """A context that occurs in both regimes is one context: index of the label."""
        return np.unique(self.contexts[:, 1], return_inverse=True)[1].ravel()

    @property
    def _labels(self) -> int:
        return len(np.unique(self.contexts[:, 1]))


def arm_loadings(design: Design, arms: Arms, *, telling: bool = False) -> np.ndarray | sp.csr_array:
    """Z of the observed arms, shape (A, P), sparse where their noise is; or what it is in the density of the standard
    deviations (`Design.telling`)."""
    if telling:
        design = dataclasses.replace(design, moved=design.telling)
    place = {tuple(k): j for j, k in enumerate(design.contexts)}
    context = np.array([place[k] for k in zip(arms.deployed.astype(int), arms.context, strict=True)])
    make = design.loadings if arms.covariance is not None else design.sparse_loadings
    return make(arms.model, arms.deployed, context)


def free_terms(design: Design) -> list[Term]:
    """Terms whose standard deviation is sampled, in the order of the coordinates after theta's three."""
    return sorted((t for t in design.terms if t.kind.free), key=lambda t: t is not local_term(design))


def local_term(design: Design) -> Term | None:
    """The term whose levels have scales of their own; it is the first of the free terms."""
    return design.term("beta:context") if design.outlier > 0 else None


def model_term(design: Design) -> Term | None:
    """The term in which each model has a scale of its own."""
    return design.term("delta") if design.instability > 0 else None


def layout_of(design: Design) -> Layout:
    """The coordinates of the design's hierarchy."""
    free, local, each = free_terms(design), local_term(design), model_term(design)
    return Layout(
        design.term("theta_E").width,
        np.array([t.width for t in free]),
        design.outlier,
        0 if local is None else local.columns.stop - local.columns.start,
        0 if each is None else design.n_models,
        0 if each is None else free.index(each),
        design.instability,
    )


def make_design(cells: Cells, arms: Arms, spec: Spec) -> Design:
    """The design of a log's arms. A factor with one level in use has no effect to estimate and is left out."""
    contexts = np.unique(np.stack([arms.deployed.astype(int), arms.context], 1), axis=0)
    labels = len(np.unique(contexts[:, 1]))
    mixtures, levels = context_shares(cells, contexts)
    single = len(mixtures) == 1 and "context" in mixtures
    bench = contexts[:, 0] == 0
    reference = {
        # Without a bench all levels are alike; a context label among deployments alone has no natural reference.
        f: int((m[bench] if bench.any() else m).mean(0).argmax()) if bench.any() or not single else -1
        for f, m in mixtures.items()
    }
    plain = int(np.searchsorted(np.unique(contexts[:, 1]), contexts[bench, 1][0])) if bench.sum() == 1 else -1
    models = len(cells.levels["model"])
    blocks: list[tuple[Kind, int, float]] = [(Intercept(), 1, spec.intercept)]
    if arms.deployed.any() and not arms.deployed.all():
        explained = replays(cells) and not single
        blocks.append((Shift(), 1, spec.replayed_shift if explained else spec.intercept))
    blocks += [(Ability(False), models, spec.ability), (Ability(True), models, spec.ability)]
    if own := _own_items(cells, contexts):
        blocks.append((OwnItems(own), 1, spec.intercept))
        if models > 1:
            blocks.append((OwnItemsOfModel(own), models, spec.intercept))
    if labels > 1:
        for factor, mixture in mixtures.items():
            count = mixture.shape[1] - (reference[factor] >= 0)
            blocks.append((FactorLevel(factor), count, spec.factor))
            if not single and models > 1:
                blocks.append((FactorLevelOfModel(factor), models * count, spec.interaction))
        if not single and not _a_label(mixtures):
            blocks.append((ContextEffect(), labels, spec.context))
        if models > 1:
            blocks.append((Residual(), models * labels, spec.residual))
    terms, start = [], 0
    for kind, count, width in blocks:
        if width > 0:
            terms.append(Term(kind, slice(start, start + count), width))
            start += count
    moved, told = _moved(arms, contexts, models)
    hinged = bool(single and bench.sum() == 1 and moved is not None and replays(cells))
    own = any(t.name == "delta" for t in terms) and not why_one_scale(arms, models, spec)
    few = single and 3 <= labels <= LOCAL_SCALES_MAX and not (own and labels + models > BOTH_SCALES_MAX)
    return Design(
        tuple(terms),
        start,
        models,
        contexts,
        mixtures,
        levels,
        reference,
        plain,
        spec.outlier if few and not hinged else 0.0,
        spec.instability_spread if own else 0.0,
        moved=moved,
        telling=told,
        hinged=hinged,
    )


def _own_items(cells: Cells, contexts: np.ndarray) -> tuple[int, ...]:
    """Codes of the contexts whose traffic has items of its own, where others replay the bench; none where all or none do.

    How easy these items are has nothing to do with what contexts do: drawn to the others by the law of contexts they would
    draw the bench, whose items they do not share; nor does a model's ease with them say how good it is at the bench's.
    Where all traffic has items of its own the common shift is that.
    """
    deployed = np.unique(contexts[contexts[:, 0] == 1, 1])
    if len(deployed) == len(contexts):
        return ()
    replaying = replaying_contexts(cells)[deployed]
    return tuple(int(c) for c in deployed[~replaying]) if replaying.any() else ()


def _a_label(mixtures: dict[str, np.ndarray]) -> bool:
    """Is the one factor another name of the context? Then an effect of the context beyond it would be the same effect twice,
    and how the two share it nothing but prior."""
    if len(mixtures) != 1:
        return False
    (shares,) = mixtures.values()
    return bool((shares.max(1) == 1.0).all() and len(np.unique(shares.argmax(1))) == len(shares))


def _moved(arms: Arms, contexts: np.ndarray, models: int) -> tuple[np.ndarray | None, np.ndarray | None]:
    """`Design.moved`, flip rates over their mean, and `Design.telling`; a combination without rows is taken for the
    context's mean one."""
    if arms.flips is None or not (arms.flips > 0).any():
        return None, None
    place = {tuple(k): j for j, k in enumerate(contexts)}
    column = np.array([place[k] for k in zip(arms.deployed.astype(int), arms.context, strict=True)])
    seen = arms.flips > 0
    usual = arms.flips[seen].mean()
    added = (1 - TRUST) / np.maximum(arms.clusters, 1.0)
    each = np.stack([arms.flips, np.maximum(arms.flips - added, 0.0)])[:, seen] / usual
    total, count = np.zeros((2, models, len(contexts))), np.zeros((models, len(contexts)))
    for k in range(2):
        np.add.at(total[k], (arms.model[seen], column[seen]), each[k])
    np.add.at(count, (arms.model[seen], column[seen]), 1.0)
    tried = count.sum(0)
    common = np.where(tried > 0, total.sum(1) / np.maximum(tried, 1), 1.0)
    return tuple(np.where(count > 0, total / np.maximum(count, 1), common[:, None]))


def why_one_scale(arms: Arms, models: int, spec: Spec) -> str:
    """Why all models have one instability scale; '' where each has its own. Raises InputError where it was asked for and
    the log cannot tell them apart."""
    each = [len(np.unique(arms.context[arms.model == m])) for m in range(models)]
    least, enough = min(each), CONTEXTS_EACH if spec.instability == "auto" else 3
    if spec.instability == "shared" or spec.instability_spread == 0:
        return "asked for"
    if not 3 <= models <= LOCAL_SCALES_MAX:
        reason = f"{models} models, of their own have scales 3 to {LOCAL_SCALES_MAX}"
    else:
        reason = f"a model was judged in {least} contexts, less than {enough}" if least < enough else ""
    if reason and spec.instability == "per_model":
        raise InputError(f'instability="per_model" cannot be fitted to this log: {reason}; use "shared" or "auto"')
    return reason

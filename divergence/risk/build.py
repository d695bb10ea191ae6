"""`risk_model`: from a posterior and its log to a risk model whose calibration was checked on rows that saw nothing of it.

Whole clusters (sessions where they are logged, else items, else rows) are split off by a hash: 6 parts fit the joint model
again, 2 choose and fit the calibrator, 2 take part in nothing but the check. The table that is kept is that of the given
posterior (all rows); it is surer than the one that was checked, never less sure. Deployment rows count, bench rows of
sessions' logs all go to the fit. Where a part has too few judged rows, the risks stay as the posterior has them and the
check says so.
"""

from __future__ import annotations

import dataclasses
from importlib.metadata import version

import numpy as np
import polars as pl
import pyarrow as pa

from divergence.calling import sentences
from divergence.cells import Cells, collapse
from divergence.errors import InputError, NotIdentifiedError
from divergence.executions import SERVING_FACTORS, Executions
from divergence.executions.contexts import NOT_LOGGED
from divergence.executions.unchanged import one_pass
from divergence.joint.fit import fit
from divergence.joint.importance import Importance
from divergence.joint.posterior import Posterior
from divergence.numerics import NORMAL_95, logit
from divergence.orders import AS_COUNTED
from divergence.risk.calibrate import Calibrator, choose_calibrator
from divergence.risk.conformal import GROUP_MIN, coverage, thresholds
from divergence.risk.context_definitions import Served
from divergence.risk.discrimination import beside_plain
from divergence.risk.known_items import item_risks
from divergence.risk.model import RiskModel
from divergence.risk.moved_draws import drawn_of_batch
from divergence.risk.plain_share import SHARE, blended, cell_rates, moved_draws, worth
from divergence.risk.reliability import BINS, CLUSTERS_MIN, clustering, equal_bins, reliability
from divergence.risk.risk_draws import plausible_risks
from divergence.risk.summaries import Summaries, summarise
from divergence.risk.training_traffic import traffic_of
from divergence.risk.unseen_items import features_of, unseen_shift
from divergence.risk.unseen_shift import UnseenShift

PARTS, CALIBRATION, CHECK = 10, (6, 7), (8, 9)
DRAWS_KEPT, DRAWS_MIN, NUMBERS_KEPT = 200, 50, 2_000_000  # of tables of risks, in the model's folder: 8 MB at most
ROWS_MIN = 200  # judged rows of a part below which nothing can be said about calibration
NONE = Calibrator("none", {})


@dataclasses.dataclass(frozen=True)
class HeldOutRows:
    """Judged deployment rows that the fit did not see."""

    frame: pl.DataFrame
    """`model`, `context`, `task`, `item`, declared features, `failure` (0..1), `trials`, `cluster`, `part`."""

    def part(self, numbers: tuple[int, ...]) -> pl.DataFrame:
        """The rows of some parts."""
        return self.frame.filter(pl.col("part").is_in(numbers))


@sentences
@one_pass
def risk_model(posterior: Posterior, log: Executions | None = None, *, seed: int = 0) -> RiskModel:
    """How likely is each request to fall short? The risk model of a posterior's primary outcome.

    `posterior`: what `fit` returns. `log`: what it was fitted to; with it the risks are calibrated and checked on rows held
    out. `seed`: of what is split and drawn. Returns a `RiskModel`: probabilities by model, context and stratum, with
    intervals. Raises NotIdentifiedError where the log has no judged deployment rows, or the outcome has no failures.

    >>> import divergence as dv
    >>> from divergence.simulate import simulate, world
    >>> log = dv.read(simulate(world("baseline", n_models=3, n_contexts=3, n_items=40), 0)[0])
    >>> posterior = dv.fit(dv.collapse(log), seed=0)
    >>> "calibration" in dv.risk_model(posterior, log).check["sentence"]
    True
    """
    raw = summarise(posterior)
    cells = posterior.fits[0].cells
    factors = log.factors if log is not None else (("context",) if cells.factors == () else cells.factors)
    calibrated = _unchecked("no log was given") if log is None else _calibrated(posterior, log, seed)
    calibrator, check, sets, clusters, share = calibrated
    if log is not None and log.configuration.features and "unseen" not in check:
        check["sentence"] += f"; {' and '.join(log.configuration.features)} could not be tried, and no feature is used"
    whole = blended(raw, cell_rates(cells, raw.levels, raw.risk.shape), share)
    provenance = {
        "seed": seed,
        "version": version("eval-divergence"),
        "method": posterior.fits[0].described_method,
        "notes": list(cells.notes),
    }
    draws = min(DRAWS_KEPT, NUMBERS_KEPT // raw.risk.size)
    kept = (
        None
        if draws < DRAWS_MIN
        else calibrator(
            moved_draws(plausible_risks(posterior, draws=draws, seed=seed), raw, whole).reshape(draws, -1)
        ).astype(np.float32)
    )
    model = _model(whole, calibrator)
    shape = whole.promised.shape
    served, risk = _served(posterior, log), model.table["risk"].reshape(shape)
    every = _served(posterior, log, ("deployment", "evaluation"))
    items, told = item_risks(posterior.fits[0], whole.levels, risk, whole.promised, every, seed, _prompts(log))
    model = dataclasses.replace(model, items=items)
    traffic = _traffic(whole, posterior, clusters)
    shift = check.get("unseen", {}).pop("shift", None)
    return dataclasses.replace(
        model,
        plausible=kept,
        near={} if shift is None else shift.arrays(),
        factors=tuple(factors),
        served=served,
        outcome=cells.outcome,
        kind=cells.kind,
        check=check | {"items": told["sentence"], "sharpness": check.get("sharpness", {}) | told.pop("sharpness", {})},
        conformal=sets,
        traffic=traffic | _features(shift) | {"items": told, **traffic_of(model, cells)},
        provenance=provenance,
    )


def _prompts(log: Executions | None) -> dict[str, tuple[int, str]] | None:
    """How many hashes of prompts each item had, and the first of them; None where none are logged."""
    if log is None or "prompt_hash" not in log.present:
        return None
    item, prompt = (pl.col(name).cast(pl.String) for name in ("item", "prompt_hash"))
    rows = log.scan().select(item, prompt).filter(item.is_not_null() & (prompt != ""))
    found = rows.group_by("item").agg(hashes=prompt.n_unique(), prompt=prompt.min()).collect(engine="streaming")
    return {name: (hashes, one) for name, hashes, one in found.iter_rows()} or None


def _served(posterior: Posterior, log: Executions | None, regimes: tuple[str, ...] = ("deployment",)) -> Served:
    """How contexts of these regimes were served: by all rows of the log, or else by what the fit kept of each factor of
    deployed ones."""
    if log is None:
        design = posterior.fits[0].design
        factors = tuple(f for f in design.mixtures if f != "context")
        here = [(c, label) for c, (regime, label) in enumerate(design.contexts) if regime == 1]
        names = posterior.fits[0].cells.levels["context"]
        apart = {
            names[label]: tuple(
                tuple(
                    None if level == NOT_LOGGED else level
                    for level, share in zip(design.levels[f], design.mixtures[f][c], strict=True)
                    if share > 0
                )
                for f in factors
            )
            for c, label in here
        }
        return Served(factors, {}, apart if factors else {})
    wanted = log.factors if log.configuration.factors is not None else dict.fromkeys((*log.factors, *SERVING_FACTORS))
    factors = tuple(f for f in wanted if f != "context" and (f in log.factors or f in log.present))
    rows = (
        log.scan()
        .filter(pl.col("regime").cast(pl.String).is_in(regimes))
        .select(pl.col("context").cast(pl.String), *(pl.col(f).cast(pl.String).replace(NOT_LOGGED, None) for f in factors))
    )
    return Served.of(factors, rows.unique().collect(engine="streaming").iter_rows())


def judged_rows(log: Executions) -> HeldOutRows:
    """The log's judged deployment rows with their cluster and part."""
    frame = log.scan().filter((pl.col("regime") == "deployment") & pl.col("outcome").is_not_null())
    frame = frame.select(
        pl.col("model", "context", "task").cast(pl.String),
        pl.col("item").cast(pl.String),
        *(pl.col(name).cast(pl.Float64) for name in features_of(log)[0]),
        failure=1 - pl.col("outcome"),
        trials=pl.col("score_n").fill_null(1).cast(pl.Float64),
        cluster=_cluster(),
        part=_part(),
    )
    return HeldOutRows(
        frame.collect(engine="streaming").sort("cluster", "model", "context", "task", "failure", nulls_last=True)
    )


def _cluster() -> pl.Expr:
    return pl.coalesce(
        pl.col("session").cast(pl.String), pl.col("item").cast(pl.String), pl.col("row").cast(pl.String)
    ).hash(seed=2)


def _part() -> pl.Expr:
    return (_cluster() // 7 % PARTS).cast(pl.Int64)


def _calibrated(posterior: Posterior, log: Executions, seed: int) -> tuple[Calibrator, dict, dict, dict, float]:
    """Calibrator, check, thresholds, how outcomes cluster and the share of plain rates, from a fit to six of ten parts."""
    judged = judged_rows(log)
    calibration, check = judged.part(CALIBRATION), judged.part(CHECK)
    for part, what in ((calibration, "calibrate with"), (check, "check with")):
        clusters = part["cluster"].n_unique()
        if part.height < ROWS_MIN or clusters < CLUSTERS_MIN:
            return _unchecked(
                f"{part.height} judged rows in {clusters} sessions or items are left to {what}, at least "
                f"{ROWS_MIN} in {CLUSTERS_MIN} are needed",
                SHARE if judged.frame.height >= ROWS_MIN and judged.frame["cluster"].n_unique() >= CLUSTERS_MIN else 0.0,
            )
    if calibration["failure"].sum() in (0, calibration.height):
        return _unchecked("all rows to calibrate with have the same outcome")
    some, every = (
        log.scan()
        .filter(pl.col("regime") == "deployment")
        .select(some=pl.col("session").is_not_null().any(), every=pl.col("session").is_not_null().all())
        .collect()
        .row(0)
    )
    kept = _part() < CALIBRATION[0]
    if some:
        kept |= pl.col("regime") == "evaluation"
    part = dataclasses.replace(log, frame=log.frame.filter(kept.fill_null(True)))
    try:
        fitted = fit(collapse(part), spec=posterior.spec, method=Importance(), seed=seed)
        raw = summarise(fitted)
        table, words, share = _with_plain_rates(raw, fitted.fits[0].cells, calibration)
        trained = _model(table, NONE)
        trained = dataclasses.replace(trained, traffic=traffic_of(trained, fitted.fits[0].cells))
    except (InputError, NotIdentifiedError) as error:
        return _unchecked(f"the part of the log to fit is too small ({error})")
    risk, failure, trials, cluster, context = _scored(trained, calibration)
    everywhere = judged.frame["part"].to_numpy()
    base = _scored(trained, judged.frame)[0]
    shift, told, values = unseen_shift(
        log, judged.frame, base, everywhere < CALIBRATION[0], np.isin(everywhere, CALIBRATION)
    )
    # Strata are calibrated, and then moved by what is known of a request: what lacks it has the stratum's own risk.
    calibrator, scores = choose_calibrator(risk, failure, cluster, trials)
    judged = HeldOutRows(judged.frame.with_columns(**values))
    calibration, check = judged.part(CALIBRATION), judged.part(CHECK)
    more = {} if shift is None else {"traffic": trained.traffic | _features(shift), "near": shift.arrays()}
    draws = moved_draws(plausible_risks(fitted, seed=seed), raw, table)
    kept = dataclasses.replace(_model(table, calibrator), **{"traffic": trained.traffic} | more)
    kept = dataclasses.replace(kept, plausible=calibrator(draws.reshape(len(draws), -1)))
    sets = thresholds(_scored(kept, calibration)[0], failure, context) if np.isin(failure, (0, 1)).all() else {}
    before = _scored(dataclasses.replace(trained, **more), check)[0]
    risk, failure, trials, cluster, context = _scored(kept, check)
    plausible = drawn_of_batch(kept, _batch(check, kept.tells))
    found = reliability(risk, failure, weight=trials, cluster=cluster, plausible=plausible, seed=seed)
    found["clustering"] = _clustering(risk, failure, trials, cluster, context) | {
        "sessions": every,
        "clusters": judged.frame["cluster"].n_unique(),
    }
    found["log_scores"] = scores
    found["ece_before"] = reliability(before, failure, weight=trials, cluster=cluster, seed=seed)["ece"]
    if sets:
        found["sets"] = coverage(risk, failure, context, sets)
    found["sharpness"] = {"unseen": beside_plain(risk, trained.plain(_batch(check)), failure, trials, cluster, seed)}
    found["contexts"] = _by_context(risk, failure, trials, cluster, context)
    found["unseen"] = {"sentence": told, "shift": shift}
    found["sentence"] = _sentence(found, calibrator) + words + (f"; {told}" if told else "")
    return calibrator, found, sets, found["clustering"], share


def _features(shift: UnseenShift | None) -> dict:
    return {} if shift is None else {"features": shift.to_json()}


def _with_plain_rates(raw: Summaries, cells: Cells, held: pl.DataFrame) -> tuple[Summaries, str, float]:
    """The table, a share of it rates of cells, as held-out rows want it."""
    rates = cell_rates(cells, raw.levels, raw.risk.shape)
    trained = _model(raw, NONE)
    risk, failure, trials, cluster, _ = _scored(trained, held)
    share, saved, error = worth(risk, rates.ravel()[trained.rows(_batch(held))], failure, trials, cluster)
    words = f"; rates of cells weigh {share:g}: they save {saved:.4f} nats (standard error {error:.4f})"
    return blended(raw, rates, share), words, share


def _clustering(risk: np.ndarray, failure: np.ndarray, trials: np.ndarray, cluster: np.ndarray, context: np.ndarray) -> dict:
    """How outcomes hang together as a whole, within a context, and within a bin of risk: what a scored log's means are
    worth."""
    one, count = np.unique(cluster, return_inverse=True)[1].ravel(), len(np.unique(cluster))
    places = {
        "context": np.unique(context, return_inverse=True)[1].ravel(),
        "bin": equal_bins(risk, trials, BINS),
        "all": np.zeros(len(risk), int),
    }
    out = {}
    for part, place in places.items():
        unit = np.unique(one * (place.max() + 1) + place, return_inverse=True)[1].ravel()
        groups = 1 if part == "bin" else place.max() + 1
        out[part] = clustering(risk, failure, trials, unit, count * groups)
    return out


def _unchecked(why: str, share: float = 0.0) -> tuple[Calibrator, dict, dict, dict, float]:
    words = f"; rates of cells weigh {share:g}, undecided" if share else ""
    return NONE, {"sentence": f"calibration was not checked: {why}{words}"}, {}, {}, share


def _scored(model: RiskModel, rows: pl.DataFrame) -> tuple[np.ndarray, ...]:
    risk = model.score(_batch(rows, model.tells)).column("risk").to_numpy(zero_copy_only=False)
    return (risk, *(rows[name].to_numpy() for name in ("failure", "trials", "cluster", "context")))


def _batch(rows: pl.DataFrame, further: tuple[str, ...] = ()) -> pa.RecordBatch:
    return rows.select("model", "context", "task", *further).to_arrow().combine_chunks().to_batches()[0]


def _by_context(risk: np.ndarray, failure: np.ndarray, trials: np.ndarray, cluster: np.ndarray, context: np.ndarray) -> dict:
    """Mean risk, failure rate and the standard error of their difference in each context, clusters whole."""
    out = {}
    for name in np.unique(context):
        mine = context == name
        n = trials[mine].sum()
        sums = np.bincount(np.unique(cluster[mine], return_inverse=True)[1].ravel(), (trials * (failure - risk))[mine])
        out[str(name)] = {
            "rows": int(mine.sum()),
            "risk": float(trials[mine] @ risk[mine] / n),
            "failures": float(trials[mine] @ failure[mine] / n),
            "se": float(np.sqrt((sums**2).sum()) / n),
        }
    return out


def _sentence(found: dict, calibrator: Calibrator) -> str:
    how = "left as the posterior has it" if calibrator.name == "none" else f"by {calibrator.name}"
    inside = "within" if found["inside_null"] else "ABOVE"
    words = (
        f"calibration {how}: error {found['ece']:.3f} on {found['rows']} held-out rows ({found['clusters']} sessions "
        f"or items), {inside} the {found['ece_null_95']:.3f} that a perfect score stays below in 95 % of such checks, "
        f"{'within' if found['inside_posterior'] else 'ABOVE'} the {found['ece_posterior_95']:.3f} of a score that is "
        "as unsure of its risks as this one says"
    )
    sets = found.get("sets")
    if sets and sets["worst"] is not None:
        words += (
            f"; {sets['nominal']:.0%} sets hold {sets['coverage']:.1%}, {AS_COUNTED} in the worst context of at least "
            f"{GROUP_MIN} rows ({sets['worst']}) {sets['worst_coverage']:.1%}"
        )
    return words


def _traffic(whole: Summaries, posterior: Posterior, worth: dict) -> dict:
    """What `stale` compares a scored log with."""
    fit = posterior.fits[0]
    cell = (logit(np.clip(whole.upper, 1e-9, 1 - 1e-9)) - logit(np.clip(whole.lower, 1e-9, 1 - 1e-9))) / (2 * NORMAL_95)
    cell = cell * whole.risk * (1 - whole.risk)
    deployed = np.unique(fit.arms.context[fit.arms.deployed])
    names = [fit.cells.levels["context"][c] for c in deployed]
    contexts = {}
    for name in names:
        c = whole.levels["context"].index(name)
        seen = whole.known[:-1, c].any(-1)
        contexts[name] = {"sd": float(whole.level_sd[:-1, c][seen].mean()), "cell_sd": float(cell[:-1, c][seen].mean())}
    return {
        "clustering": worth,
        "contexts": contexts,
        # A new model or a new context, whichever is known less.
        "unseen": {
            "sd": float(max(whole.level_sd[:-1, -1].mean(), whole.level_sd[-1, :-1].mean())),
            "cell_sd": float(max(cell[:-1, -1].mean(), cell[-1, :-1].mean())),
        },
    }


def _model(whole: Summaries, calibrator: Calibrator, **fields) -> RiskModel:
    """The table after calibration."""
    low, high = calibrator.bounds(np.stack([whole.lower, whole.upper]))
    risk = calibrator(whole.risk)
    between = calibrator.bounds(whole.risk)
    # Outside what calibration rows reach a step map is flat: where nothing was seen the posterior's limits stay.
    new = ~whole.known
    lower = np.minimum(np.minimum(low[0], between[0]), np.where(new, whole.lower, 1.0))
    upper = np.maximum(np.maximum(high[1], between[1]), np.where(new, whole.upper, 0.0))
    lower, upper = np.minimum(lower, risk), np.maximum(upper, risk)
    table = {
        "risk": risk,
        "excess": risk - whole.promised,
        "lower": lower,
        "upper": upper,
        "novelty": whole.novelty,
        "known": whole.known,
        "reason": whole.reason,
    }
    empty = {
        "factors": (),
        "outcome": "score",
        "kind": "binary",
        **{name: {} for name in ("check", "conformal", "traffic", "provenance")},
    }
    return RiskModel(
        levels=whole.levels,
        table={k: v.reshape(-1) for k, v in table.items()},
        reasons=whole.reasons,
        calibrator=calibrator,
        **empty | fields,
    )

"""Printed equations against the fit: they are worked out as they are printed, and give the fit's own levels and priors."""

import functools
import json
import re

import numpy as np
import polars as pl
import pytest

import divergence as dv
from divergence.joint import ItemLevel
from divergence.joint.item_levels import _ridge
from divergence.simulate import simulate, world

SIZES = {"n_models": 4, "n_contexts": 4, "n_items": 40}


def log(kind="baseline", **sizes):
    return simulate(world(kind, **(SIZES | sizes)), 3)[0]


def labelled(frame):
    """The same where nothing but a label is known of a context."""
    return frame.select("regime", "model", "context", "item", "score", "trial")


def own_items(frame):
    """The same where one deployment context has items that the bench never tried."""
    mine = pl.col("context") == frame.filter(regime="deployment")["context"][0]
    return frame.with_columns(pl.when(mine).then("own-" + pl.col("item")).otherwise("item").alias("item"))


def one_regime(frame):
    return frame.filter(regime="deployment")


def timed(frame):
    rng = np.random.default_rng(0)
    return frame.with_columns(latency_s=pl.Series(np.exp(rng.normal(-1, 0.5, frame.height))))


LOGS = {  # log, spec, method, outcome
    "factors, replayed": (log(), dv.Spec(), None, None),
    "labels": (labelled(log()), dv.Spec(), None, None),
    "labels and one model": (labelled(log(n_models=1)), dv.Spec(), None, None),
    "one model": (log(n_models=1), dv.Spec(), None, None),
    "sessions": (log("sessions", n_models=2), dv.Spec(), None, None),
    "waves": (log("waves"), dv.Spec(), None, None),
    "items of their own": (own_items(log()), dv.Spec(), None, None),
    "items of their own and one model": (own_items(log(n_models=1)), dv.Spec(), None, None),
    "items of their own and labels": (own_items(labelled(log())), dv.Spec(), None, None),
    "no item in common": (log("no_overlap"), dv.Spec(), None, None),
    "one regime": (one_regime(log()), dv.Spec(), None, None),
    "times": (timed(log()), dv.Spec(), None, "latency_s"),
    "items": (log(), dv.Spec(), ItemLevel(), None),
    "a scale a model": (log(), dv.Spec(instability="per_model"), None, None),
    "one stands apart": (log("broken", n_models=6, n_contexts=8, n_items=100), dv.Spec(), None, None),
    "terms left out": (log(), dv.Spec(factor=0.0, context=0.0, residual=0.0, interaction=0.3), None, None),
    "no interaction": (log(), dv.Spec(interaction=0.0, replayed_shift=0.0, outlier=0.0), None, None),
}


@functools.cache
def fit_of(name):
    frame, spec, method, outcome = LOGS[name]
    return dv.fit(dv.collapse(dv.read(frame), outcome=outcome), spec=spec, method=method, seed=0)


@pytest.fixture(scope="module", params=LOGS)
def fitted(request):
    return request.param, LOGS[request.param][0], fit_of(request.param)


def worked_out(text, fit):
    """Mean levels of the arms on the link scale, each printed term by its symbol, shape (A,)."""
    design, effects = fit.design, fit.effects.mean(0)
    eta = re.search(r"eta\[m,r,c\] = (.*)", text)[1].split(" + ")
    multiplied = re.search(r"multiplied by f\[m,c\].*: (.*)", text)
    multiplied = multiplied[1].split(", ") if multiplied else []

    def of(name):
        return effects[design.term(name).columns]

    out = []
    for m, deployed, context in zip(fit.arms.model, fit.arms.deployed, fit.arms.context, strict=True):
        c = next(k for k, place in enumerate(design.contexts) if tuple(place) == (deployed, context))
        label = int(np.searchsorted(np.unique(design.contexts[:, 1]), context))
        f = 1.0 if design.moved is None else design.moved[m, c]
        total = 0.0
        for entry in eta:
            symbol = entry.partition("[")[0]
            letter, _, factor = symbol.partition("_")
            if symbol == "alpha":
                value = of("alpha")[0]
            elif symbol == "shift":
                value = of("shift")[0] * deployed * (f if symbol in multiplied else 1)
            elif symbol == "theta":
                step = f if "theta[m,D] - theta[m,E]" in multiplied else 1
                bench = of("theta_E")[m]
                value = bench + deployed * step * (of("theta_D")[m] - bench)
            elif symbol in ("o", "q"):
                name, k = {"o": ("own_items", 0), "q": ("own_items_of_model", m)}[symbol]
                value = of(name)[k] * (deployed and context in design.term(name).kind.contexts)
            elif letter in ("beta", "gamma"):
                shares = np.delete(design.mixtures[factor][c], [k for k in [design.reference[factor]] if k >= 0])
                mine = of(f"{letter}:{factor}")
                value = shares @ (mine if letter == "beta" else mine.reshape(design.n_models, -1)[m])
                value *= f if symbol in multiplied else 1
            elif symbol in ("u", "delta"):
                mine = of("u") if symbol == "u" else of("delta").reshape(design.n_models, -1)[m]
                value = mine[label] * (label != design.plain) * (f if symbol in multiplied else 1)
            else:
                assert symbol == "epsilon"
                apart = enumerate(design.apart)
                value = sum(of(f"apart:{k}")[0] for k, (i, j, r) in apart if (i, j) == (m, context) and r in (-1, deployed))
            total += value
        out.append(total)
    return np.array(out), eta


def test_they_give_the_levels_of_the_fit(fitted):
    """Every symbol of the sum is a term of the fit, and no term is missing: the levels are the fit's own."""
    _, _, posterior = fitted
    fit = posterior.fits[0]
    place = {tuple(k): j for j, k in enumerate(fit.design.contexts)}
    where = [place[k] for k in zip(fit.arms.deployed.astype(int), fit.arms.context, strict=True)]
    loadings = fit.design.loadings(fit.arms.model, fit.arms.deployed, np.array(where))
    found, eta = worked_out(posterior.equations(), fit)
    np.testing.assert_allclose(found, loadings @ fit.effects.mean(0), atol=1e-9)
    assert len(eta) == len(set(eta))
    told = {e.partition("[")[0] for e in eta}
    names = {"own_items": "o", "own_items_of_model": "q", "theta_E": "theta", "theta_D": "theta"}
    terms = [t.name for t in fit.design.terms]
    assert told == {names.get(t, t.replace(":", "_")) if not t.startswith("apart") else "epsilon" for t in terms}


def test_every_coordinate_has_a_prior_and_no_other_is_printed(fitted):
    _, _, posterior = fitted
    fit, text = posterior.fits[0], posterior.equations()
    design = fit.design
    widths = {symbol: float(width) for symbol, width in re.findall(r"(\w+) ~ HalfNormal\(([\d.]+)\)", text)}
    of = {"tau_f": "beta:", "psi_f": "gamma:", "sigma_u": "u", "s": "delta", "sigma_shift": "shift", "a": "apart:"}
    of["sigma_E"] = "theta_E"
    coordinates = 2  # the ratio of sigma_D and sigma_E, and rho
    for symbol, width in widths.items():
        if symbol == "tau_s":
            assert width == design.instability > 0
            coordinates += 1 + design.n_models
            continue
        mine = [t for t in design.terms if t.name == of[symbol] or (of[symbol][-1] == ":" and t.name.startswith(of[symbol]))]
        assert mine and {t.width for t in mine} == {width}, symbol
        coordinates += len(mine)
    if local := re.search(r"log tau_f\[c\] ~ N\(log tau_f, ([\d.]+)\)", text):
        assert float(local[1]) == design.outlier > 0
        columns = design.term("beta:context").columns
        coordinates += columns.stop - columns.start
    assert coordinates == fit.x.shape[1]
    told = dict(re.findall(r"^(alpha|o|q) ~ N\([-\d.]+, ([\d.]+)\)", text, re.M))
    given = {"alpha": "alpha", "o": "own_items", "q": "own_items_of_model"}
    assert {given[symbol]: float(width) for symbol, width in told.items()} == {
        t.name: t.width for t in design.terms if t.kind.given
    }
    laws = re.findall(r"^(\S+) ~ N\(0, (\S+?)\)", text, re.M)
    assert {scale.partition("[")[0] for _, scale in laws if not scale[0].isdigit()} == widths.keys() - {"sigma_E", "tau_s"}


def test_the_law_of_items_has_the_priors_of_its_search():
    """A mu for each arm, wave and task, around the log's mean, and the spread of difficulties: what `_solve` is held by."""
    text = fit_of("items").equations()
    assert "mu[m,r,c,w,t] - b[i]" in text
    of_mu = re.search(r"mu ~ N\(mu of the log's mean, ([\d.]+)\)", text)
    of_spread = re.search(r"log sigma_b ~ N\(0, ([\d.]+)\)", text)
    assert of_mu and of_spread
    np.testing.assert_allclose(np.diag(_ridge(1)), [float(found[1]) ** -2 for found in (of_mu, of_spread)])


def test_what_was_measured_is_what_the_log_has(fitted):
    name, frame, posterior = fitted
    text, fit = posterior.equations(), posterior.fits[0]
    assert ("sessions" in text) == (frame.get_column("session", default=pl.Series(["one"])).n_unique() > 1)
    assert ("omega[w]" in text) == (len(fit.wave[0]) > 0) == (name == "waves")
    assert ("b[i]" in text) == fit.method.startswith("item-level")
    assert f"\n{fit.arms.link}(level[m,r,c]) ~" in text and (name == "times") == ("log(level" in text)
    if name == "times":
        centre = float(re.search(r"alpha ~ N\(([-\d.]+),", text)[1])
        assert centre == pytest.approx(np.log(fit.arms.level).mean(), abs=5e-3)


def test_the_logs_have_every_term_between_them():
    """Or the walk would pass by a term that no log has."""
    seen = set()
    lines = {"omega", "sessions", "log tau_f[c]", "log s[m]", "multiplied by f", "shift, "}
    for name in LOGS:
        text = fit_of(name).equations()
        seen |= {entry.partition("[")[0] for entry in re.search(r"eta\[m,r,c\] = (.*)", text)[1].split(" + ")}
        seen |= {line for line in lines if line in text}
    factors = {"beta_context", "beta_quantization", "gamma_quantization"}
    assert {"alpha", "shift", "theta", "o", "q", "u", "delta", "epsilon"} | factors | lines <= seen


def test_they_are_saved_with_the_fit(fitted, tmp_path):
    _, _, posterior = fitted
    posterior.save(tmp_path / "fit")
    words = json.loads((tmp_path / "fit" / "posterior.json").read_text())
    assert "\n".join(words["fits"][0]["equations"]) == posterior.equations() == dv.load(tmp_path / "fit").equations()

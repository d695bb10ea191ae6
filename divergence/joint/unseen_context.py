"""A deployment context that nobody has seen: one law, for `levels(contexts="new")`, the table of risks and planning.

The contexts of the log are a sample of those that there could be, each counting alike. On the link scale, of model m, with
`k` contexts that it is linked with (`laws`), its level there `eta_c` as drawn by the joint model and as measured `y_c`,

    eta_new = centre + tau (sum_c e_c z_c + sqrt(1 / k) sum_c e_c z0_c),      centre = mean_c eta_c,
    e_c = (eta_c - centre) / sqrt(sum_c (eta_c - centre)^2),                 z, z0 ~ N(0, 1),
    tau^2 = max(sum_c (y_c - mean y)^2 / chi2_(k - 1) - noise, 0),

with `noise` the sampling variance of one measured difference from their mean. `z` and the chi-square are those of a context
and of a draw: all models share them, so that models that moved together in the log do so in the new context. Without noise
each model's marginal is the prediction law of Student's t with k - 1 degrees of freedom. Its tail is held by a half-normal
prior of `WIDTH` on the root mean square of `tau` over the models; with one context that prior is all that is known. What a
new context does has no other centre or width where serving factors are logged: which levels it has is not known.
`benchmarks/unseen.md` leaves contexts out of real tables.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from divergence.joint.laws import law_weights
from divergence.joint.level_draws import link_levels
from divergence.joint.link import from_link
from divergence.joint.posterior import Fit
from divergence.numerics import column_squares
from divergence.random_streams import stream

WIDTH = 1.25  # link scale: half of the priors hold contexts that move 50 % by less than 20 points, or times by less than 2.3
PROPOSALS = 64  # chi-squares a draw, of which the prior picks one


def unseen_levels(fit: Fit, count: int) -> np.ndarray:
    """Draws of levels in `count` unseen contexts a draw, on the outcome scale, shape (S, models, count)."""
    return from_link(unseen_link(fit, count), fit.arms.link)


def unseen_link(fit: Fit, count: int) -> np.ndarray:
    """The same on the link scale."""
    eta = link_levels(fit, fit.design.of_regime(True))
    rng = stream(fit.seed, "new contexts")
    linked = law_weights(fit, "deployment", "logged") > 0
    size = linked.sum(1)
    centre = (eta * linked).sum(2) / size
    eta = (eta - centre[:, :, None]) * linked
    length = np.sqrt((eta**2).sum(2, keepdims=True))
    away = np.divide(eta, length, out=eta, where=length > 0)
    draws = len(eta)
    tau = _spread(fit, draws, rng)
    common = np.einsum("smc,sc->sm", away, rng.standard_normal((draws, eta.shape[2]))) / np.sqrt(size)
    own = np.einsum("smc,scn->smn", away, rng.standard_normal((draws, eta.shape[2], count)))
    alone = size < 2  # no difference of contexts says who moves with whom: half of it is all models'
    if alone.any():
        both = rng.standard_normal((draws, 1, count + 1)) + rng.standard_normal((draws, alone.sum(), count + 1))
        own[:, alone], common[:, alone] = both[:, :, 1:] / np.sqrt(2), both[:, :, 0] / np.sqrt(2)
    return centre[:, :, None] + tau[:, :, None] * (common[:, :, None] + own)


def _spread(fit: Fit, draws: int, rng: np.random.Generator) -> np.ndarray:
    """Draws of `tau`, shape (S, models); a model judged in one context has that of the others, or the prior's."""
    squares, noise, count = _measured(fit)
    several = count > 1
    if not several.any():
        return np.abs(WIDTH * rng.standard_normal((draws, 1))) * np.ones(len(count))
    least = count[several].min()
    usual = several & (count == least)
    squares, noise = np.where(several, squares, squares[usual].mean()), np.where(several, noise, noise[usual].mean())
    freedom, group, size = np.unique(np.where(several, count, least) - 1, return_inverse=True, return_counts=True)
    normal = rng.standard_normal((draws, PROPOSALS, freedom[-1])) ** 2
    chi = np.stack([normal[:, :, :f].sum(2) for f in freedom], 2)  # of any number of contexts, from the same normals
    mean = [np.bincount(group, values) / size for values in (squares, noise)]
    typical = np.maximum(mean[0] / chi - mean[1], 0.0) @ (size / size.sum())  # mean square over the models
    chosen = np.argmax(rng.gumbel(size=typical.shape) - typical / (2 * WIDTH**2), axis=1)
    picked = np.take_along_axis(chi, chosen[:, None, None], 1)[:, 0]
    return np.sqrt(np.maximum(squares / picked[:, group] - noise, 0.0))


def _measured(fit: Fit) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Per model the sum of squares of its measured deployed levels around their mean, the part that is noise of one of them,
    and their number; link scale, shape (models,)."""
    arms, response, models = fit.arms, fit.response, fit.design.n_models
    mine = np.flatnonzero(arms.deployed)
    model, value = arms.model[mine], response.value[mine]
    count = np.bincount(model, minlength=models)
    mean = np.bincount(model, value, models) / np.maximum(count, 1)
    squares = np.bincount(model, (value - mean[model]) ** 2, models)
    member = sp.csr_array((np.ones(len(mine)), (mine, model)), shape=(len(arms), models))
    if response.root is None:
        together = (member.T @ (member.T @ response.matrix).T).diagonal()
    else:
        together = column_squares(sp.csr_array(response.root) @ member)
    noise = np.bincount(model, response.noise_variance[mine], models) - together / np.maximum(count, 1)
    return squares, np.maximum(noise, 0.0) / np.maximum(count - 1, 1), count

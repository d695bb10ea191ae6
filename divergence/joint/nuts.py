"""NumPyro's NUTS on the same density: the reference that importance sampling is tested against, and its fallback."""

from __future__ import annotations

import dataclasses

import numpy as np

from divergence.calling import sentence_fields
from divergence.cells import Cells
from divergence.errors import InputError
from divergence.joint.arm_noise import DENSE_ARMS_MAX
from divergence.joint.arms import Arms, clustered_arms
from divergence.joint.block_hierarchy import BlockHierarchy
from divergence.joint.compilations import kept_compilations
from divergence.joint.methods import E_BFMI_MIN, R_HAT_MAX, Diagnostic, Sample, effective_draws
from divergence.joint.problem import Data, padded
from divergence.joint.spec import Spec


@sentence_fields
@dataclasses.dataclass(frozen=True)
class NUTS:
    """The No-U-Turn sampler (Hoffman and Gelman 2014), as a method of `fit`: slower, for logs whose gates fail.

    Its gates are R-hat, effective draws and E-BFMI. Raises InputError for an argument that does not exist.

    >>> import divergence as dv
    >>> dv.NUTS(chains=2).chains
    2
    """

    chains: int = 4
    """Chains, drawn one after the other."""
    warmup: int = 500
    """Adaptation steps of a chain."""
    draws: int = 500
    """Draws kept of a chain."""

    measurement = "arm-level"

    def measure(self, cells: Cells, spec: Spec | None = None) -> Arms:
        """The arms of the log: clustered means."""
        return clustered_arms(cells, spec or Spec())

    def __call__(self, data: Data, seed: int) -> Sample:
        """Draw from the posterior of the coordinates given `data` (see `numpyro_model.joint_model`). Raises InputError for
        more arms than are kept as matrices."""
        if isinstance(data, BlockHierarchy):
            raise InputError(
                f"NUTS takes at most {DENSE_ARMS_MAX} combinations of model, regime and context, and this log has "
                f"{len(data.value)}: use Importance(), which takes both, or keep fewer with --where"
            )
        import jax
        from arviz_stats.base.array import array_stats
        from numpyro.infer import MCMC
        from numpyro.infer import NUTS as Kernel

        from divergence.joint.numpyro_model import joint_model

        arrays, keep = padded(data)
        with kept_compilations(), jax.enable_x64(True):
            run = MCMC(
                Kernel(joint_model),
                num_warmup=self.warmup,
                num_samples=self.draws,
                num_chains=self.chains,
                chain_method="sequential",
                progress_bar=False,
            )
            run.run(
                jax.random.key(seed),
                {k: jax.numpy.asarray(v) for k, v in arrays.items()},
                extra_fields=("diverging", "energy"),
            )
            x = np.asarray(run.get_samples(group_by_chain=True)["x"])[..., keep]
            extra = {k: np.asarray(v) for k, v in run.get_extra_fields(group_by_chain=True).items()}
        r_hat = float(np.max(array_stats.rhat(x, chain_axis=0, draw_axis=1)))
        bulk = array_stats.ess(x, chain_axis=0, draw_axis=1, method="bulk")
        tail = array_stats.ess(x, chain_axis=0, draw_axis=1, method="tail", prob=(0.05, 0.95))
        effective = float(min(np.min(bulk), np.min(tail)))
        energy = extra["energy"]
        spread = np.square(energy - energy.mean(1)[:, None]).sum(1)
        bfmi = float((np.square(np.diff(energy, axis=1)).sum(1) / spread).min())
        divergent = float(extra["diverging"].sum())
        gates = (
            Diagnostic("R-hat", r_hat, R_HAT_MAX, bool(r_hat < R_HAT_MAX), "the chains disagree"),
            effective_draws(effective),
            Diagnostic("divergent transitions", divergent, 0.0, divergent == 0, "part of the posterior was not explored"),
            Diagnostic("E-BFMI", bfmi, E_BFMI_MIN, bool(bfmi > E_BFMI_MIN), "the tails were explored too slowly"),
        )
        return Sample(x.reshape(-1, x.shape[-1]), gates, "NUTS")

"""Context effects average to the gap; contrasts add up."""

import numpy as np

import divergence as dv
from divergence.joint import levels


def test_context_effects_average_to_the_gap(waves_posterior):
    effect = dv.context_effect(waves_posterior).where(statistic=None, model="model-0")
    law = levels(waves_posterior.fits[0], "deployment").law[0]
    np.testing.assert_allclose(effect.draws @ law, dv.gap(waves_posterior).draws[:, 0], atol=1e-12)


def test_contrasts_are_antisymmetric_sums(waves_posterior):
    contrast = dv.context_effect(waves_posterior).where(statistic="contrast")
    pair = {(a, b): contrast.draws[:, k] for k, (a, b) in enumerate(contrast.rows.select("context", "context_b").rows())}
    np.testing.assert_allclose(
        pair["context-1", "context-2"] + pair["context-2", "context-3"], pair["context-1", "context-3"], atol=1e-12
    )

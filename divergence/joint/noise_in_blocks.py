"""The noise of many arms as the blocks of a hierarchy hold it: what a model's own arms share, and what each has alone."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from divergence.joint.blocks import Bucket
from divergence.joint.paired import Measured
from divergence.joint.thin_blocks import ONE, Columns


def by_model(noise: Measured) -> Columns:
    """The noise that the arms of one model share, as columns of the models."""
    arms, models = np.arange(len(noise.model)), int(noise.model.max()) + 1
    return [
        (sp.csr_array((sd, (arms, noise.model)), shape=(len(arms), models)), np.full(models, ONE), True)
        for sd in (noise.anchor, noise.luck)
    ]


def noise_blocks(noise: Measured, bucket: Bucket) -> np.ndarray:
    """Noise of each model's arms that it does not share, shape (K, K, M); 1 where there is no arm."""
    out = np.zeros((len(bucket.arms), *bucket.arms.shape))
    for sd in (noise.anchor, noise.luck):
        mine = bucket.take(sd)
        out += mine[:, None] * mine[None]
    each = np.arange(len(bucket.arms))
    out[each, each] += np.where(bucket.there, bucket.take(noise.own), 1.0)
    return out

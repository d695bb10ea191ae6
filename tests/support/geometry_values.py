"""Reference values of other libraries on one recipe of arrays: facts, each with what made it.

Arrays: `arrays()` below, 60 rows of 5 numbers a side, float64. MMD and Sinkhorn compare 40 rows of X with 50 rows of Y.
"""

import numpy as np

VALUES = {  # name: (value, made with)
    "shape_angle": (0.1998276743352225, "netrep 0.0.2 LinearMetric(alpha=1), angular"),
    "shape_euclidean": (12.463252119998684, "netrep 0.0.2 LinearMetric(alpha=1), euclidean"),
    "cka_biased": (0.9854625440581904, "cosine of netrep 0.0.2 LinearCKA"),
    "cka_debiased": (0.9853183585874246, "dcor 0.7 u_distance_correlation_sqr(exponent=2)"),
    "principal_angles": ((0.7683231303511859, 1.5106940223473844), "scipy.linalg.subspace_angles, top 2 components"),
    "mmd_unbiased": (0.06263202432052914, "scikit-learn rbf_kernel(gamma=0.1), explicit U-statistic"),
    "mmd_biased": (0.10433897450826438, "scikit-learn rbf_kernel(gamma=0.1), explicit V-statistic"),
    "bures_distance": (6.286242121365793, "POT 0.9.7 ot.gaussian.bures_wasserstein_distance, covariances over n"),
    "sinkhorn_epsilon_1": (46.89560547074949, "ott-jax 0.6.0 sinkhorn_divergence (entropic dual), squared Euclidean cost"),
    "participation_ratio": (1.6664324791707203, "numpy: (tr S)^2 / tr S^2 of X"),
}


def arrays(seed: int = 20240607, n: int = 60, d: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """X and Y: Y is X, turned and shrunk, with noise and a shift."""
    generator = np.random.default_rng(seed)
    mixing = generator.standard_normal((d, d))
    x = generator.standard_normal((n, d)) @ mixing
    turn, _ = np.linalg.qr(generator.standard_normal((d, d)))
    return x, 0.8 * x @ turn + 0.5 * generator.standard_normal((n, d)) + 1.0

"""Values of other libraries on the same arrays, through the library where it is installed."""

import pytest

from divergence.geometry import bures, moments

POT = {  # POT 0.9.7 on X[:40] and Y[:50]; its Sinkhorn divergence is the transport cost, not the entropic dual value
    "emd": 47.55452368772484,
    "sinkhorn": 47.702232262269305,
}


def test_pot(xy, values):
    ot = pytest.importorskip("ot", reason="needs POT")
    x, y = xy
    mine = bures(moments(x, cluster=None), moments(y, cluster=None)).where(statistic="plain").to_frame()["mean"][0]
    theirs = ot.gaussian.empirical_bures_wasserstein_distance(x, y, reg=0)
    assert mine**0.5 == pytest.approx(float(theirs), abs=1e-6)  # POT takes square roots of matrices: half the digits
    assert mine**0.5 == pytest.approx(values["bures_distance"], abs=1e-10)
    assert ot.emd2([], [], ot.dist(x[:40], y[:50])) == pytest.approx(POT["emd"], abs=1e-8)
    found = ot.bregman.empirical_sinkhorn_divergence(x[:40], y[:50], reg=1.0)
    assert found == pytest.approx(POT["sinkhorn"], abs=1e-4)  # its default stops at 1e-9 of the marginals


def test_ripser(xy):
    ripser = pytest.importorskip("ripser", reason="needs ripser")
    first, second = (d[d[:, 1] < float("inf")] for d in ripser.ripser(xy[0])["dgms"])
    assert (first[:, 1] - first[:, 0]).sum() == pytest.approx(155.58252716064453, abs=1e-4)  # float32
    assert (second[:, 1] - second[:, 0]).sum() == pytest.approx(8.451396942138672, abs=1e-4)

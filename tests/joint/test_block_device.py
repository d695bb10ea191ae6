"""The density on devices and the host's are each other's oracle: values, slopes, draws, and on eight devices."""

import dataclasses
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from block_logs import SHAPES, block_target, log_of

import divergence as dv
from divergence.joint.block_device import DeviceHierarchy, on_device
from divergence.joint.importance import _adapted

ROUNDING = 1e-9  # relative, of sums of at most a thousand terms in double precision


@pytest.mark.parametrize("shape", SHAPES)
def test_devices_and_host_have_the_same_density_and_slope(shape):
    host = block_target(shape)
    device = DeviceHierarchy.of(host)
    assert device.dims == host.dims
    x = np.random.default_rng(1).standard_normal((60, host.dims)) * 1.5
    np.testing.assert_allclose(device.density(x), host.density(x), rtol=ROUNDING, atol=1e-8)
    for point in x[:3]:  # automatic differentiation against the slope that was worked out by hand
        s = host.variances(point[None])[0]
        slope = host.layout.slope(point, s, device.by_variance(s))
        np.testing.assert_allclose(slope, host.gradient(point)[1], rtol=1e-7, atol=1e-7)


def test_any_number_of_points_is_one_compiled_stack():
    host = block_target("five models")
    device = DeviceHierarchy.of(host)
    step = device.step
    x = np.random.default_rng(2).standard_normal((2 * step + 3, host.dims))
    whole = device.density(x)
    assert whole.shape == (len(x),)
    for count in (0, 1, step, step + 1):
        np.testing.assert_array_equal(device.density(x[:count]), whole[:count])


def test_a_density_that_is_wrong_is_seen():
    host = block_target("ragged")
    moved = dataclasses.replace(host, value=host.value + 1e-4)
    x = np.random.default_rng(3).standard_normal((5, host.dims))
    assert np.abs(DeviceHierarchy.of(moved).density(x) - host.density(x)).min() > 1e-7


@pytest.mark.parametrize("shape", ("five models", "200 models"))
def test_draws_on_devices_are_those_on_the_host(shape):
    target = block_target(shape)
    one, other = (dv.Importance(draws=500, device=name)(target, 4) for name in ("host", "jax"))
    np.testing.assert_allclose(other.x, one.x, rtol=1e-6, atol=1e-6)
    for first, second in zip(one.diagnostics, other.diagnostics, strict=True):
        assert second.value == pytest.approx(first.value, rel=1e-6, abs=1e-9)


def test_a_fit_on_devices_has_the_answers_of_the_host():
    cells = dv.collapse(log_of("200 models"))
    one, other = (dv.fit(cells, method=dv.Importance(device=name), seed=2) for name in ("host", "jax"))
    for question in (dv.bench_level, dv.deployed_level, dv.context_effect):
        here, there = question(one).to_frame(), question(other).to_frame()
        for column in ("mean", "lower", "upper"):
            np.testing.assert_allclose(there[column].to_numpy(), here[column].to_numpy(), rtol=1e-6, atol=1e-6)


def test_which_path_is_taken():
    target = block_target("five models")
    assert on_device(target, "host") is target
    assert isinstance(on_device(target, "jax"), DeviceHierarchy)
    for wrong in ("gpu", ""):
        with pytest.raises(dv.InputError, match=r"device.*host, jax"):
            dv.Importance(device=wrong)
    with pytest.raises(dv.InputError, match="device is a text, seen None"):
        dv.Importance(device=None)  # type: ignore[arg-type]


@pytest.mark.prove  # eight devices on a machine of two cores wait for each other's threads: now and then for ever
@pytest.mark.parametrize("shapes", [("five models", "own scales", "one model", "200 models")])
def test_models_dealt_out_to_eight_devices_are_the_same(shapes):
    code = f"""
import numpy as np, jax
from block_logs import block_target
from divergence.joint.block_device import DeviceHierarchy
assert len(jax.devices()) == 8
for shape in {shapes!r}:
    host = block_target(shape)
    x = np.random.default_rng(5).standard_normal((40, host.dims))
    found = DeviceHierarchy.of(host)
    assert len(found.arrays[0]["noise"].sharding.device_set) == 8
    three = DeviceHierarchy.of(host, jax.devices()[:3]).density(x)
    scale = np.maximum(np.abs(host.density(x)), 1)
    print(max(np.abs((d - host.density(x)) / scale).max() for d in (found.density(x), three)))
"""
    here = pathlib.Path(__file__).parents[1]
    flags = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=8"
    path = os.pathsep.join([str(here / "support"), str(here.parent), os.environ.get("PYTHONPATH", "")])
    out = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
        env=os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu", "PYTHONPATH": path, "NPROC": "32"},
    )
    assert out.returncode == 0, out.stderr
    worst = [float(line) for line in out.stdout.split()]
    assert len(worst) == len(shapes) and max(worst) < ROUNDING


@pytest.mark.parametrize("seed", range(4))
def test_rounding_does_not_decide_on_which_half_of_a_proposal_a_median_lies(seed):
    rng = np.random.default_rng(seed)
    points = rng.standard_normal((400, 5)) @ rng.standard_normal((5, 5))
    proposal = _adapted(points, np.full(400, 1 / 400), 8.0)
    assert np.abs(np.log(proposal.high / proposal.low)).min() > 1e-3  # the halves differ: which one it is does matter
    near = points * (1 + 4e-16 * rng.standard_normal(points.shape))
    np.testing.assert_allclose(proposal.log_density(near), proposal.log_density(points), atol=1e-10)

"""Rows that lie sharded on eight devices give the same numbers as the same rows in one place."""

import os
import subprocess
import sys

SCRIPT = """
import jax, numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from divergence.geometry import cka, feature_sums, kernel_for, mmd_of_sums, paired_moments

assert len(jax.devices()) == 8
generator = np.random.default_rng(0)
x = generator.standard_normal((800, 6)).astype(np.float32)
y = (x + generator.standard_normal((800, 6))).astype(np.float32)
cluster = np.arange(800) // 20
rows = NamedSharding(Mesh(np.array(jax.devices()), ("rows",)), PartitionSpec("rows"))
sharded = [jax.device_put(v, rows) for v in (x, y)]
shards = list(zip(*(sorted(v.addressable_shards, key=lambda s: s.index[0].start) for v in sharded)))
assert len(shards) == 8 and len({s.device for s, _ in shards}) == 8

whole = paired_moments(x, y, cluster=cluster)
merged = None
for a, b in shards:  # one state where each shard lies; only states meet
    part = paired_moments(a.data, b.data, cluster=cluster[a.index[0]])
    merged = part if merged is None else merged.merge(part)
gathered = paired_moments(*sharded, cluster=cluster)
for state in (merged, gathered):
    assert state.n == 800 and (state.keys == whole.keys).all()
    # products of a chunk are float32: 25 rows a block and 7 digits
    for name in ("xx", "xy", "yy"):
        one, two = (getattr(s.sums.pooled().centred(), name) for s in (state, whole))
        np.testing.assert_allclose(one, two, rtol=1e-5, atol=1e-3)
    np.testing.assert_allclose(cka(state).to_frame()["mean"], cka(whole).to_frame()["mean"], atol=1e-6)

kernel = kernel_for(x, y, features=128)
totals = []
for side in (0, 1):
    parts = [feature_sums(pair[side].data, kernel, cluster=cluster[pair[side].index[0]]) for pair in shards]
    total = parts[0]
    for part in parts[1:]:
        total = total.merge(part)
    direct = feature_sums((x, y)[side], kernel, cluster=cluster)
    np.testing.assert_array_equal(total.keys, direct.keys)
    np.testing.assert_allclose(total.total, direct.total, atol=1e-4)  # sums of 20 float32 cosines
    totals.append((total, direct))
one, two = (mmd_of_sums(totals[0][k], totals[1][k], permutations=49).to_frame()["mean"] for k in (0, 1))
np.testing.assert_allclose(one, two, atol=1e-6)
print("same")
"""


def test_eight_host_devices():
    environment = os.environ | {"XLA_FLAGS": "--xla_force_host_platform_device_count=8", "JAX_PLATFORMS": "cpu"}
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, env=environment)
    assert done.stdout.strip() == "same", done.stderr[-2000:]

"""Compiled kernels are kept while this package compiles, and the host application's settings stand afterwards."""

import os

import jax

from divergence.joint import compilations
from divergence.joint.compilations import kept_compilations


def test_settings_are_put_back(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    names = (
        "jax_compilation_cache_dir",
        "jax_persistent_cache_min_compile_time_secs",
    )
    before = [getattr(jax.config, name) for name in names]
    jax.config.update("jax_compilation_cache_dir", None)
    with kept_compilations():
        assert jax.config.jax_compilation_cache_dir == str(tmp_path / "divergence" / f"jax-{jax.__version__}")
    assert jax.config.jax_compilation_cache_dir is None
    assert [getattr(jax.config, name) for name in names[1:]] == before[1:]
    jax.config.update("jax_compilation_cache_dir", str(tmp_path / "own"))
    try:
        with kept_compilations():
            assert jax.config.jax_compilation_cache_dir == str(tmp_path / "own"), "an own setting wins"
    finally:
        jax.config.update("jax_compilation_cache_dir", before[0])


def test_the_folder_is_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(compilations, "BYTES_MAX", 250)
    for k in range(4):
        (tmp_path / f"kernel-{k}").write_bytes(b"x" * 100)
        os.utime(tmp_path / f"kernel-{k}", (1000 + k, 1000))
    compilations._bound(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["kernel-2", "kernel-3"], "the oldest go first"

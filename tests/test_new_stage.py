"""A new stage is its file, its schema and its params: the command line and `fg chain` find it by themselves."""

import os
import shutil
import subprocess
import sys

import pytest
from conftest import FACES
from pipeline_files import ROOT

from fgcli.cli import discovery

STAGE = '''"""faces.h5 -> mean.h5: the mean face."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from fgcli import config


class Params(config.Section):
    """Section `mean`."""

    power: Annotated[float, Field(gt=0, description="Power to which values are raised.")]


def run(
    faces: Path = Path("out/faces.h5"), output: Path = Path("out/mean.h5"), *, params: Params
) -> dict[str, Any]:
    """Writes it."""
    from fgcli import artifacts

    images = artifacts.rows(faces, "images")[:] / 255.0
    mean = (images**params.power).mean(0).astype("float32")
    given = {"params": params.model_dump(), "inputs": {"faces": faces}, "meta": {}}
    artifacts.save(output, artifacts.SCHEMAS["mean"], {"mean": mean}, **given)
    return {"rows": len(images), "power": params.power}
'''
SCHEMA = """
SCHEMAS["mean"] = Schema("mean", 1, {"mean": Field("float32", "h w c", "mean face, values in [0, 1]")})
"""
PARAMS = """
mean:                         # faces.h5 -> mean.h5
  power: 1.0                  # power to which values are raised
"""


@pytest.fixture(scope="module")
def fg(tmp_path_factory):
    """`fg` of a copy of the package with one more stage, run in the folder beside the copy."""
    home = tmp_path_factory.mktemp("copy")
    shutil.copytree(ROOT / "fgcli", home / "fgcli", symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "params.yaml", home)
    for name, text in {
        "fgcli/stages/mean.py": STAGE,
        "fgcli/artifacts/schemas.py": SCHEMA,
        "params.yaml": PARAMS,
    }.items():
        with (home / name).open("a") as file:
            file.write(text)
    environment = os.environ | {"PYTHONPATH": str(home), "COLUMNS": "100"}

    def run(*arguments):
        command = [sys.executable, "-m", "fgcli", *map(str, arguments)]
        done = subprocess.run(command, cwd=home, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def test_help_lists_it_after_the_other_stages(fg):
    lines = fg("--help").splitlines()
    at = next(i for i, line in enumerate(lines) if "faces.h5 -> mean.h5: the mean face." in line)
    assert lines[at].split()[1] == "mean"
    assert "report.html" in lines[at - 2]
    assert "--power" in fg("mean", "--help")


def test_it_runs_with_its_params(fg, faces, tmp_path):
    output = tmp_path / "mean.h5"
    assert f"rows: {FACES}\npower: 2" in fg("mean", "--faces", faces, "-o", output, "--set", "mean.power=2")
    assert "mean/1" in fg("inspect", output)


def test_it_can_be_chained(fg, faces, tmp_path):
    assert "seed0.mean.power: 1" in fg("chain", "mean", "--folder", tmp_path, "--use", f"faces={faces}")
    assert (tmp_path / "seed0/mean.h5").exists()


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('"""A.\n\nB."""\nclass Params(X):\n    pass\ndef run(\n    faces: Path,\n', discovery.Stage("A.", True)),
        ('"""A."""\nclass Params:\n    pass\ndef run(output: Path', discovery.Stage("A.", False)),
        ("class Params:\n    pass\ndef run(*, params", discovery.Stage("", False)),
        ('"""A."""\ndef run(paper: Path', None),
        ('"""A."""\nclass Params:\n    def run(self', None),
    ],
)
def test_what_makes_a_file_a_stage(text, found):
    assert discovery.stage(text) == found

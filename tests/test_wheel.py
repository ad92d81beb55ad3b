"""The wheel in an environment of its own does what the README says, in a folder that knows nothing of the clone."""

import os
import shlex
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest
import yaml
from pipeline_files import ROOT
from tiny_pipeline import SMALL

from fgcli import config
from fgcli.datasets.orl import orl

PEOPLE, EACH = 8, 2
TINY = {name: SMALL[name] for name in ("heads", "regressor", "flame", "train", "report")} | {
    "preprocess": {"processes": 1, "val": 0.25, "test": 0.25},
    "density": {"methods": {"gaussian": {"name": "gaussian"}}},
    "editor": {"methods": {"components": {"name": "pca", "components": 2}}},
    "evaluate": {"samples": 4, "metrics": [{"name": "l1"}, {"name": "frechet", "features": "pixels"}]},
}
"""Params over those of the project, so that its pipeline takes seconds."""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with an environment, in which there is the wheel and what it depends on, and photos."""
    pytest.importorskip("hatchling")
    folder = tmp_path_factory.mktemp("elsewhere")
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder], cwd=ROOT, check=True)
    venv.create(folder / "env")
    library = sysconfig.get_path("purelib", vars={"base": str(folder / "env")})
    # This environment's packages, but not its fgcli: .pth files, as those of editable installs, are not heeded there.
    (Path(library) / "others.pth").write_text(sysconfig.get_path("purelib") + "\n")
    (wheel,) = folder.glob("*.whl")
    pip = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        folder / "env/bin/python",
        "install",
        "-q",
        "--no-deps",
        "--no-index",
    ]
    subprocess.run([*pip, "--ignore-installed", wheel], check=True)
    (folder / "photos").mkdir()
    for photo in [orl().photos[10 * person + i] for person in range(PEOPLE) for i in range(EACH)]:
        name = f"{photo.path.parent.name}-{photo.path.name}"
        (folder / "photos" / name).write_bytes(photo.path.read_bytes())
    return folder


@pytest.fixture(scope="module")
def did(place):
    """A function that runs a command of the environment in a folder, and returns what it printed."""
    known = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    known["PATH"] = f"{place / 'env/bin'}{os.pathsep}{known['PATH']}"

    def run(words, folder=place):
        done = subprocess.run(shlex.split(words), cwd=folder, env=known, capture_output=True, text=True)
        assert done.returncode == 0, f"{words}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    return run


@pytest.fixture(scope="module")
def project(place, did):
    """A project of the photos, its pipeline run: dvc starts the command for a stage, the others are forks."""
    did("fgcli init faces --photos photos --size 32 --alone")
    params = place / "faces/params.yaml"
    params.write_text(yaml.safe_dump(config.overlay(config.parse(params), TINY), sort_keys=False))
    did("python -m dvc repro preprocess", place / "faces")
    did(f"python {shlex.quote(str(ROOT / 'tests/forked_dvc.py'))} repro", place / "faces")
    return place / "faces"


def test_the_environment_has_the_wheels_code_and_its_data(place, did):
    home = Path(did("python -c 'import fgcli; print(fgcli.__file__)'").strip()).parent
    assert home.is_relative_to(place / "env")
    for top, _, names in os.walk(ROOT / "fgcli", followlinks=True):
        for path in (Path(top, name).relative_to(ROOT / "fgcli") for name in names if not name.endswith(".pyc")):
            assert (home / path).is_file(), path
    assert did("fgcli doctor").startswith("fg: ")


def test_a_papers_project_is_made_of_the_wheel_alone(place, did):
    did("fgcli init paper --paper rae")
    assert "classifier" in did("python -m dvc stage list --name-only", place / "paper")


def test_from_photos_to_an_edited_one_and_an_export(project, did):
    assert (project / "out/report.html").is_file()
    photo = next(iter((project.parent / "photos").iterdir()))
    did(f"fgcli edit {photo} -a component_1=1 -o edited.png", project)
    assert (project / "edited.png").is_file()
    did("fgcli sample -n 2 -o drawn.png", project)
    did("fgcli export out/generator.h5 --format safetensors -o face", project)
    assert list(project.glob("face*.safetensors"))
    assert did("python -m dvc status", project).strip() == "Data and pipelines are up to date."

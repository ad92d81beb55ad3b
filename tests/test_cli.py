"""The command line: quick help, exit codes, one-sentence errors, results on stdout."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fgcli.cli import COMMANDS, app
from fgcli.stages.pictures import strengths

ROOT = Path(__file__).parents[1]
run = CliRunner().invoke


def test_help_lists_every_command_and_imports_nothing_heavy():
    program = (
        "import sys; from typer.testing import CliRunner; from fgcli.cli import app\n"
        "done = CliRunner().invoke(app, ['--help']); print(done.output)\n"
        "print([m for m in ('torch', 'h5py', 'numpy', 'pydantic', 'yaml', 'dlib', 'sklearn') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith("[]")
    assert all(name in done.stdout for name in COMMANDS)


@pytest.mark.parametrize("name", [n for n in COMMANDS if n not in ("data", "assets")])
def test_every_command_explains_itself(name):
    done = run(app, [name, "--help"])
    assert done.exit_code == 0, done.output
    assert "--debug" in done.output
    assert "--json" in done.output


def test_stage_modules_import_nothing_heavy():
    program = (
        "import importlib, sys\n"
        "from fgcli.cli.discovery import stages\n"
        "for n in (*stages(), 'paper', 'pictures', 'head_pictures'):\n"
        "    importlib.import_module(f'fgcli.stages.{n}')\n"
        "print([m for m in ('torch', 'h5py', 'dlib', 'sklearn', 'matplotlib', 'PIL') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["trian"], 2, "No such command"),
        (["train", "--step", "3"], 2, "--steps"),
        (["train", "--steps", "x"], 2, "as an integer"),
        (["train", "--steps", "-1"], 2, "fg: train.steps: input should be greater than or equal to 0, found -1"),
        (["train", "--set", "train.stepz=1"], 2, "fg: train.stepz: unknown key (did you mean 'steps'?)"),
        (["train", "--set", "train.generator.widht=1"], 1, "none.h5: expected an fg artifact, found no such file"),
        (["train", "--params", "none.yaml"], 2, "fg: none.yaml: expected a params file, found none"),
        (["invert"], 1, "none.h5: expected an fg artifact, found no such file; run the stage that writes it"),
        (["inspect", "none.h5"], 1, "none.h5: expected an fg artifact"),
        (["sample", "--generator", "none.h5"], 1, "none.h5: expected an fg artifact"),
        (["edit", "x.jpg", "-a", "smiling", "--strength", "1:2"], 2, "--strength 1:2: expected a number"),
        (["interpolate", "1", "2", "--path", "arc"], 2, "--path arc: expected one of linear, slerp"),
    ],
)
def test_errors_are_one_sentence_with_an_exit_code(tmp_path, monkeypatch, arguments, code, message):
    monkeypatch.chdir(tmp_path)
    if arguments[0] in ("train", "invert"):
        arguments = [*arguments, "--faces", "none.h5"]
    done = run(app, arguments)
    assert done.exit_code == code, done.output
    assert message in " ".join(done.output.split())
    assert "Traceback" not in done.output
    assert list(tmp_path.iterdir()) == []


def test_underscores_and_dashes_are_the_same(tmp_path):
    for flag in ("--learning_rate", "--learning-rate"):
        done = run(app, ["train", flag, "-1", "--faces", str(tmp_path / "none.h5")])
        assert "train.learning_rate: input should be greater than 0" in done.output


def test_strengths():
    assert strengths("-3:3:7") == [-3, -2, -1, 0, 1, 2, 3]
    assert strengths("1.5") == [1.5]


def test_doctor_speaks_json():
    done = run(app, ["doctor", "--json"])
    found = json.loads(done.output.splitlines()[-1])
    assert found["versions"]["torch"]
    assert found["advice"]


def test_version():
    from fgcli import __version__

    assert run(app, ["--version"]).output.strip() == __version__


def test_data_list_shows_each_layout():
    done = run(app, ["data", "list"])
    assert done.exit_code == 0
    assert "celeba: CelebA (Liu, Luo, Wang, Tang 2015)" in done.output
    assert "    CelebA as published: img_align_celeba/ and three tables" in done.output
    assert "        attributes:" in done.output  # of image_folder
    assert "Raises" not in done.output

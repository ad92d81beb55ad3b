"""The command line: quick help, exit codes, one-sentence errors, results on stdout."""

import importlib
import inspect
import json
import os
import pickle
import signal
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from fgcli import config
from fgcli.cli import COMMANDS, app, doctor
from fgcli.cli.discovery import stages
from fgcli.cli.stage import flag
from fgcli.config.fields import strengths
from fgcli.errors import Stopped

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
    assert ("--json" in done.output) == (name != "studio")  # a page has no results


@pytest.mark.parametrize("name", stages())
def test_no_flag_has_the_name_of_a_file(name):
    stage = importlib.import_module(f"fgcli.stages.{name}")
    flags = {field for field in stage.Params.model_fields if flag(stage, field, config.defaults()[name][field])}
    assert not flags & set(inspect.signature(stage.run).parameters)


def test_stage_modules_import_nothing_heavy():
    program = (
        "import importlib, sys\n"
        "from fgcli.cli.discovery import stages\n"
        "own = 'paper pictures mix reprojection keyframes sample head_pictures steer animate export'.split()\n"
        "for n in (*stages(), *own):\n"
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
        (["edit", "x.jpg", "-a", "smiling", "--strength", "1:2"], 2, "--strength 1:2: expected a finite number"),
        (
            ["edit", "x.jpg", "-a", "smiling", "--strength", "nan"],
            2,
            "--strength nan: expected a finite number",
        ),
        (["edit", "x.jpg", "-a", "smiling", "--strength", "0:inf:3"], 2, "--strength 0:inf:3: expected a finite"),
        (["edit", "x.jpg", "-a", "smiling", "--strength", "0:1:²"], 2, "--strength 0:1:²: expected a finite"),
        (["sample", "--seed", "-1"], 2, "--seed"),
        (["sample", "--seed", str(10**20)], 2, "--seed"),
        (["sample", "--truncation", "nan"], 2, "--truncation"),
        (["sample", "--truncation", "inf"], 2, "expected a finite number, found inf"),
        (["flame", "render", "1", "--yaw", "nan"], 2, "expected a finite number, found nan"),
        (["train", "--seed", "-1"], 2, "fg: train.seed: input should be greater than or equal to 0, found -1"),
        (["train", "--learning-rate", "inf"], 2, "fg: train.learning_rate: input should be a finite number, found inf"),
        (["train", "--threads", "100000"], 2, "fg: train.threads: input should be less than or equal to 1024"),
        (["train", "--set", "train.betas=[0.9"], 2, "fg: --set train.betas=[0.9: expected YAML, found a mistake"),
        (["train", "--set", "train={1: 2}"], 2, "fg: --set train={1: 2}: expected section.key=value"),
        (["train", "--set", "train.augment={1: 2}"], 2, "line 1: expected a name as a key, found 1"),
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
    for name in ("--learning_rate", "--learning-rate"):
        done = run(app, ["train", name, "-1", "--faces", str(tmp_path / "none.h5")])
        assert "train.learning_rate: input should be greater than 0" in done.output


def test_strengths():
    assert strengths("-3:3:7") == [-3, -2, -1, 0, 1, 2, 3]
    assert strengths("1.5") == [1.5]


def test_doctor_speaks_json():
    done = run(app, ["doctor", "--json"])
    found = json.loads(done.output.splitlines()[-1])
    assert found["versions"]["torch"]
    assert found["advice"]
    assert set(doctor.EXTRAS) == set(metadata.metadata("fgcli").get_all("Provides-Extra"))


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


# ---- how a command ends


def ends(program: str, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """`fg` with `arguments`, after lines of Python that change what it does."""
    lines = (
        "import os, signal, sys\nfrom fgcli import cli\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"
        f"{program}\nsys.argv = {['fg', *arguments]}\ncli.main()"
    )
    options = {"stdout": subprocess.PIPE} | options
    return subprocess.run([sys.executable, "-c", lines], stderr=subprocess.PIPE, text=True, check=False, **options)


IN_WORK = "from fgcli.cli import doctor; doctor.examine = lambda: os.kill(os.getpid(), {})"
IN_IMPORT = "cli.Lazy.make_context = lambda *_, **__: os.kill(os.getpid(), {})"


@pytest.mark.parametrize("when", [IN_WORK, IN_IMPORT])
@pytest.mark.parametrize(
    ("number", "code", "line"), [(signal.SIGINT, 130, "fg: interrupted\n"), (signal.SIGTERM, 143, "fg: terminated\n")]
)
def test_ctrl_c_and_sigterm_end_alike_everywhere(when, number, code, line):
    done = ends(when.format(int(number)), "doctor")
    assert (done.returncode, done.stderr) == (code, line)


def test_a_run_that_stopped_as_asked_has_the_code_of_the_signal():
    program = (
        "from fgcli.cli import doctor; from fgcli.errors import Stopped\n"
        "def examine(): raise Stopped('last.h5: stopped as asked', 15)\n"
        "doctor.examine = examine"
    )
    done = ends(program, "doctor")
    assert (done.returncode, done.stderr) == (143, "fg: last.h5: stopped as asked\n")
    error = pickle.loads(pickle.dumps(Stopped("x", 2)))  # as it comes from another process
    assert (str(error), error.signal) == ("x", 2)


WITH_WORKERS = """
import threading
from fgcli import workers
from fgcli.cli import doctor

def examine():
    threading.Timer(3, os.kill, (os.getpid(), signal.SIGTERM)).start()
    list(workers.each(signal.sigtimedwait, [100, 100], set, 2, "doctor"))  # each waits for no signal

doctor.examine = examine
"""


def test_sigterm_ends_the_workers_too():
    start = time.monotonic()
    done = ends(WITH_WORKERS, "doctor")
    assert (done.returncode, done.stderr) == (143, "fg: terminated\n")
    assert time.monotonic() - start < 60


def test_ctrl_c_that_a_shell_keeps_from_the_background_stays_there():
    program = "signal.signal(signal.SIGINT, signal.SIG_IGN); from fgcli.cli import doctor\n"
    done = ends(program + "doctor.examine = lambda: {'killed': os.kill(os.getpid(), signal.SIGINT)}", "doctor")
    assert (done.returncode, done.stdout) == (0, "killed: None\n")


MANY = "from fgcli.cli import doctor; doctor.examine = lambda: {str(i): 'x' * 99 for i in range(9999)}"


@pytest.mark.parametrize(
    "arguments", [["doctor"], ["doctor", "--json"], ["--help"], ["assets", "list"], ["train", "-h"]]
)
def test_a_reader_that_goes_is_no_error(arguments):
    whole = ends(MANY, *arguments)
    read, write = os.pipe()
    os.close(read)
    done = ends(MANY, *arguments, stdout=write)
    os.close(write)
    assert (done.returncode, done.stderr) == (whole.returncode, whole.stderr)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
@pytest.mark.parametrize("arguments", [["doctor", "--json"], ["--help"], ["--version"], ["assets", "list"]])
def test_a_full_disk_under_stdout_is_one_sentence(arguments):
    with open("/dev/full", "w") as full:
        done = ends(MANY, *arguments, stdout=full)
    assert done.returncode == 1
    assert (
        done.stderr == "fg: stdout: expected to write the results, found no space left on device; send them elsewhere\n"
    )


def test_readme_lists_the_codes():
    text = " ".join((ROOT / "README.md").read_text().split())
    assert "exit codes are 0 done, 1 failed, 2 wrong usage, 130 stopped by Ctrl-C, 143 by SIGTERM" in text

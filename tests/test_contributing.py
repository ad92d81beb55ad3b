"""CONTRIBUTING.md by its own words: each file that it shows is written into a copy of the package, each command run."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys

import pytest
import yaml
from conftest import SMALL_RUN, write_faces
from pipeline_files import ROOT, combinations

TEXT = (ROOT / "CONTRIBUTING.md").read_text()
SHOWN = re.compile(
    r"^`(?P<path>[\w/.]+)`(?:, in `(?P<table>\w+)`)?(?P<end>, at its end)?:\n\n```\w+\n(?P<text>.*?)```", re.M | re.S
)
COMMANDS = re.compile(r"```sh\n(.*?)```", re.S)


def sections():
    """Each "Adding a ..." with its text."""
    parts = re.split(r"^## ", TEXT, flags=re.M)
    return {part.split(":")[0].removeprefix("Adding "): part for part in parts if part.startswith("Adding")}


def write(home, part):
    """Writes what a section shows; returns the new files and the changed ones."""
    new, changed = [], []
    for match in SHOWN.finditer(part):
        path, text = home / match["path"], match["text"]
        if match["table"]:
            head = f"{match['table']} = {{\n"
            assert head in path.read_text()
            text = path.read_text().replace(head, head + text)
        elif match["end"]:
            text = path.read_text() + "\n" + text
        (changed if path.exists() else new).append(match["path"])
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return new, changed


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A copy of the package with everything that CONTRIBUTING adds, a small faces.h5 and small params beside it."""
    home = tmp_path_factory.mktemp("copy")
    shutil.copytree(ROOT / "fgcli", home / "fgcli", symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "params.yaml", home)
    write_faces(home / "out/faces.h5", 64)
    params = {"train": SMALL_RUN | {"steps": 4}, "invert": {"device": "cpu"}}
    (home / "small.yaml").write_text(yaml.safe_dump(params))
    touched = {name: write(home, part) for name, part in sections().items()}
    assert touched["a generator"] == (["fgcli/generators/mine.py"], ["fgcli/generators/__init__.py"])
    assert touched["an editor"] == (["fgcli/editors/mine.py"], ["fgcli/editors/__init__.py"])
    assert touched["a stage"] == (["fgcli/stages/mean.py"], ["fgcli/artifacts/schemas.py", "params.yaml"])
    assert touched["a paper"][1] == []
    return home


RUN = """
import json, sys
from typer.testing import CliRunner
from fgcli.cli import app
told = []
for words in json.loads(sys.argv[1]):
    done = CliRunner().invoke(app, [*words, "--debug"] if words != ["--help"] else words)
    assert done.exit_code == 0, (words, done.output, done.exception)
    told.append(done.stdout)
print(json.dumps(told))
"""


def fg(home, lines):
    """What each command of `fg` of the copy prints, in one process."""
    environment = os.environ | {"PYTHONPATH": str(home), "COLUMNS": "160"}
    command = [sys.executable, "-c", RUN, json.dumps(lines)]
    done = subprocess.run(command, cwd=home, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def commands(part):
    """The commands of a section, small params first."""
    for line in "".join(COMMANDS.findall(part)).splitlines():
        _, name, *rest = shlex.split(line)
        small = ["--params", "small.yaml"] if name in ("train", "invert", "editor", "chain") else []
        stages = [w for w in rest if not w.startswith("-")] if name == "chain" else []
        cut = next((i for i, w in enumerate(rest) if w.startswith("-")), len(rest)) if stages else 0
        yield [name, *rest[:cut], *small, *rest[cut:]]


@pytest.mark.parametrize("name", sections())
def test_its_commands_run(home, name):
    lines, before = list(commands(sections()[name])), []
    if name == "an editor" and not (home / "out/latents.h5").exists():
        before = [["train", "--params", "small.yaml", "--generator", "pca"], ["invert", "--params", "small.yaml"]]
    told = fg(home, [*before, *lines, ["--help"]])[len(before) :]
    assert lines, "expected commands, found none"
    if name == "a generator":
        assert (home / "mine.png").stat().st_size > 500
    if name == "a stage":
        assert "rows: 64" in told[0]
        assert "seed0.mean.power: 3" in told[1]
        assert "faces.h5 -> mean.h5: the mean face." in told[2]
        assert told[2].index(" mean ") > told[2].index(" report ")
    if name == "a paper":
        assert "more" in (home / "out/mine/paper.json").read_text()
        assert "More codes are better." in (home / "out/mine/paper.html").read_text()


def test_what_it_adds_is_what_ruff_takes_and_the_other_tests_find(home):
    new = ["fgcli/generators/mine.py", "fgcli/editors/mine.py", "fgcli/stages/mean.py"]
    ruff = [sys.executable, "-m", "ruff", "check", "--config", str(ROOT / "pyproject.toml"), *new]
    done = subprocess.run(ruff, cwd=home, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    found = combinations(home / "pipelines/mine")
    files = {f"pipelines/mine/variants.yaml:{name}" for name in ("few", "many")}
    assert {file for key in found for file in key} == files | {"pipelines/mine/params.yaml"}


def test_its_layers_are_those_that_are_held():
    held = re.search(r"^layers = \[(.*?)\]", (ROOT / "pyproject.toml").read_text(), re.M | re.S)[1]
    known = set(re.findall(r"\w+", held)) - {"__main__", "workers", "console", "errors"}
    block = TEXT[TEXT.index("    cli    ") : TEXT.index("Only `artifacts`")]
    told = {word for line in block.splitlines() for word in re.findall(r"\w+", line.strip().split("   ")[0])}
    assert told == known

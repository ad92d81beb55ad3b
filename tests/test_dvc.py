"""dvc.yaml and the source: each stage depends on every file of fgcli that it imports, and on no other.

`python tests/test_dvc.py` prints the `deps` of every stage, to paste.
"""

import ast
import re
import textwrap
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import yaml
from pipeline_files import ROOT, commands, dvc_files, stages

NO_RESULT = {
    "fgcli/__init__.py": "the version, which files only name",
    "fgcli/errors.py": "errors end a stage",
    "fgcli/console.py": "words and progress on the terminal",
    "fgcli/cli": "parses and prints",
}
"""What changes no output, and why."""
DRAWINGS = "fgcli/reports"
"""What changes an output only where that is a picture or a page."""
ONE_BY_ONE = ("fgcli", "fgcli/stages")
"""Folders that no stage needs whole."""


def blocks():
    """Every stage of every dvc.yaml as FILE:STAGE and what stands under it, templates left as they are."""
    for file in dvc_files():
        for name, block in yaml.safe_load(file.read_text())["stages"].items():
            yield f"{file.relative_to(ROOT)}:{name}", block.get("do", block)


def sources(block):
    """Files that a stage of dvc.yaml runs: stages of fgcli, and scripts."""
    run = commands(block["cmd"])
    scripts = [word for words in run for word in words[:2] if word.endswith(".py")]
    return [f"fgcli/stages/{name}.py" for words in run for name in stages(words)] + scripts


def needed(block):
    """Files of the source that can change the outputs of a stage of dvc.yaml, those that it runs first."""
    found = sources(block)
    for file in found:  # which grows meanwhile
        found += [path for path in imported(file) if path not in found]
    idle = [*NO_RESULT, *([] if draws(block) else [DRAWINGS])]
    return [file for file in found if not any(covers(path, file) for path in idle)]


def draws(block):
    """Whether an output is a picture, a page, or a folder, where sample sheets lie."""
    items = [item for kind in ("outs", "metrics", "plots") for item in block.get(kind, [])]
    paths = [next(iter(item)) if isinstance(item, dict) else item for item in items]
    return any(Path(path).suffix in ("", ".png", ".html") for path in paths)


@cache
def imported(file):
    """Files of fgcli that a file imports, anywhere in it, or names in a registry, in order.

    A package on the way to a module does not count: its registries do where something is taken from the package.
    """
    found = [name for node in run_time(ast.parse((ROOT / file).read_text())) for name in names(node)]
    return sorted({path for name in found if (path := source(name))})


def names(node):
    """Modules that a node of the syntax tree names."""
    match node:
        case ast.Import():
            return [alias.name for alias in node.names]
        case ast.ImportFrom():
            assert node.level == 0, f"{ast.unparse(node)}: expected an absolute import, found a relative one"
            inner = [f"{node.module}.{alias.name}" for alias in node.names]
            return [name if source(name) else node.module for name in inner]
        case ast.Constant(value=str(text)) if re.fullmatch(r"fgcli[\w.]*:\w+", text):
            return [text.partition(":")[0]]
    return []


def run_time(node) -> Iterator[ast.AST]:
    """A tree's nodes but for those that only type checkers see."""
    if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
        return
    yield node
    for child in ast.iter_child_nodes(node):
        yield from run_time(child)


@cache
def source(name):
    """The file of a module of fgcli; None where it is no such module."""
    path = name.replace(".", "/")
    files = [f"{path}.py", f"{path}/__init__.py"] if name.partition(".")[0] == "fgcli" else []
    return next((file for file in files if (ROOT / file).is_file()), None)


def covers(path, file):
    """Whether a path is the file, or a folder around it."""
    return Path(file).is_relative_to(path)


def listing(files):
    """Files as dvc.yaml lists them, sorted: by folder where it gives more than two, or the package itself."""
    folders = [str(Path(file).parent) for file in files]
    whole = {folder for folder in folders if folders.count(folder) > 2}
    whole |= {folder for file, folder in zip(files, folders, strict=True) if file.endswith("__init__.py")}
    paths = {next((f for f in sorted(whole) if f not in ONE_BY_ONE and covers(f, file)), file) for file in files}
    return sorted(paths)


def pasted(block):
    """The `deps` of a stage: its data, what it runs, what that imports."""
    run, files = sources(block), needed(block)
    data = [path for path in block["deps"] if not path.startswith("fgcli") and path not in run]
    deps = [*data, *run, *listing([file for file in files if file not in run])]
    return yaml.safe_dump({"deps": deps}, default_flow_style=None, width=84, sort_keys=False)


@pytest.mark.parametrize(("name", "block"), [pytest.param(*entry, id=entry[0]) for entry in blocks()])
def test_deps_are_what_the_stage_imports(name, block):
    deps, files = block["deps"], needed(block)
    missing = listing([file for file in files if not any(covers(path, file) for path in deps)])
    idle = [path for path in deps if path.startswith("fgcli") and not any(covers(path, file) for file in files)]
    assert not missing + idle, f"{name}: lacks {missing}, does not import {idle}; write\n{pasted(block)}"


def test_imports_are_those_at_run_time_wherever_they_stand(tmp_path):
    file = tmp_path / "stage.py"
    file.write_text(
        "from fgcli import artifacts, config\n"
        "if TYPE_CHECKING:\n    from fgcli.metrics import create\n"
        "TABLE = {'vae': 'fgcli.objectives.vae:VAE'}\n"
        "def run():\n    from fgcli.training.devices import Compute\n"
    )
    found = ["fgcli/artifacts/__init__.py", "fgcli/config/__init__.py"]
    assert imported(str(file)) == [*found, "fgcli/objectives/vae.py", "fgcli/training/devices.py"]


def test_a_folder_stands_for_many_files_or_for_its_package():
    many = [f"fgcli/metrics/{name}.py" for name in ("kid", "lpips", "ssim")]
    single = ["fgcli/codes.py", "fgcli/layers/linear.py", "fgcli/stages/train.py", "fgcli/workers.py"]
    assert listing([*many, *single, "fgcli/pixels/__init__.py"]) == sorted(["fgcli/metrics", "fgcli/pixels", *single])


def test_a_param_is_no_source():
    assert "/fgcli/config/defaults.yaml" in (ROOT / ".dvcignore").read_text().split(), "it is params.yaml"


if __name__ == "__main__":
    for name, block in blocks():
        print(f"{name}\n{textwrap.indent(pasted(block), '    ')}")

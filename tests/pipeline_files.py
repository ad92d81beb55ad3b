"""The project's pipelines as tests read them: their commands, in dvc.yaml and in comments, and what these run."""

import re
import shlex
from itertools import pairwise, takewhile
from pathlib import Path
from string import Template

import yaml
from dvc.parsing import DataResolver
from dvc.repo import Repo

from fgcli.cli.data import MADE

ROOT = Path(__file__).parents[1]
FOLDERS = sorted(path for path in (ROOT / "pipelines").iterdir() if path.is_dir())


def dvc_files():
    """Every dvc.yaml of the project."""
    return [path for folder in (ROOT, *FOLDERS) if (path := folder / "dvc.yaml").exists()]


def commands(script):
    """The words of each command of a shell script, or of several."""
    text = script if isinstance(script, str) else "\n".join(script)
    return [words for line in re.split(r"\n|&&|;", text.replace("\\\n", " ")) if (words := shlex.split(line))]


def stages(words):
    """Stages of fgcli that a command runs; none where it is not fg's."""
    program, *verbs = takewhile(lambda word: not word.startswith("-"), words)
    if program not in ("fg", "fgcli"):
        return []
    if verbs[:2] == ["data", "make"]:
        return [MADE[verbs[2]][0].partition(":")[2]]
    return verbs[1:] if verbs[0] == "chain" else verbs[:1]


def combinations(folder):
    """What a folder's commands read as params, FILE or FILE:LABEL one over the other: the stages that read it."""
    found = {}
    for words in [*repeated(folder), *documented(folder)]:
        read = [after for word, after in pairwise(words) if word == "--params"]
        for files in expanded(folder.parents[1], read):
            found[files] = list(dict.fromkeys([*found.get(files, []), *stages(words)]))
    return {files: run for files, run in found.items() if files}


def repeated(folder):
    """Commands of dvc.yaml, every item of a `foreach` or `matrix`."""
    if not (folder / "dvc.yaml").exists():
        return []
    content = yaml.safe_load((folder / "dvc.yaml").read_text())
    resolved = DataResolver(Repo(str(folder), uninitialized=True), str(folder), content).resolve()
    return [words for stage in resolved["stages"].values() for words in commands(stage["cmd"])]


def documented(folder):
    """Commands in comments: indented lines that start with fg."""
    comments = "\n".join(path.read_text() for path in sorted(folder.glob("*.yaml"))).replace("\\\n#", " ")
    return commands(re.findall(r"^# {2,}(fg .*)", comments, re.MULTILINE))


def expanded(root, files, known=None):
    """All readings of `files` whose labels have ${names}: each label of the file that fits; a name means one thing."""
    if not files:
        yield ()
        return
    path, colon, label = Template(files[0]).safe_substitute(known or {}).partition(":")
    names = re.sub(r"\\\$\\\{(\w+)\\\}", r"(?P<\1>.+?)", re.escape(label))
    for found in labels(root / path) if "$" in label else [label]:
        if match := re.fullmatch(names, found):
            for rest in expanded(root, files[1:], (known or {}) | match.groupdict()):
                yield (path + colon + found, *rest)


def labels(path):
    """Keys of a file."""
    return list(yaml.safe_load(path.read_text()))

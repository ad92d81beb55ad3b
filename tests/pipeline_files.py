"""The project's pipelines as tests read them: their dvc.yaml, the commands in it and in comments, what these run."""

import re
import shlex
from itertools import takewhile
from pathlib import Path

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

"""fg's own pipelines as those of another project: no stage depends on fg's source, which is not there."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from fgcli import config
from fgcli.config.params import DEFAULTS
from fgcli.errors import UsageError

HOME = Path(__file__).parent
DEPS = re.compile(r"^( *)deps: \[([^\]]*)\]\n", re.MULTILINE)
README = """# {title}

    dvc repro              # trains what is compared, then writes out/{name}/paper.html

`pipelines/{name}/params.yaml` has the params of this small run, `params.paper.yaml` the paper's own;
`dvc.yaml` says at its head what is needed.
"""
LABELLED = ("judges", "edits")
"""Stages that want a table of attributes."""
LEARNED = ("heads", "regressor")
"""Stages that make what sees heads."""


def own(photos: Iterable[str], labelled: bool, regressor: bool) -> str:
    """dvc.yaml of a project whose stage `preprocess` depends on `photos`; what needs labels or a regressor may lack."""
    text = (HOME / "pipeline.yaml").read_text(encoding="utf-8").partition("\nplots:")[0] + "\n"
    text = re.sub(r"preprocess:.*\n", "preprocess:\n", without_source(text), count=1)
    listed = ", ".join(quoted(path) for path in photos)
    text = text.replace("    params: [preprocess]\n", f"    params: [preprocess]\n    deps: [{listed}]\n")
    text = re.sub(r"^# .*\n(# .*\n)*", "# `dvc repro` runs what has changed, in this order.\n", text)
    text = text if labelled else without(text, LABELLED).replace("out/judges.h5, ", "")
    return text if regressor else without(text, LEARNED).replace(", out/regressor.h5", "")


def without(text: str, stages: Iterable[str]) -> str:
    """The text of a dvc.yaml without some stages."""
    for name in stages:
        text = re.sub(rf"^  {name}:.*\n(    .*\n)+", "", text, flags=re.MULTILINE)
    return text


def quoted(path: str) -> str:
    """A path as a word of YAML."""
    return "'" + path.replace("'", "''") + "'"


def without_source(text: str) -> str:
    """The text of a dvc.yaml whose deps are data alone."""

    def kept(found: re.Match[str]) -> str:
        data = [path for path in re.split(r",\s+", found[2]) if not path.startswith("fgcli/")]
        return f"{found[1]}deps: [{', '.join(data)}]\n" if data else ""

    return DEPS.sub(kept, text)


def papers() -> list[str]:
    """Names of the papers' pipelines."""
    return sorted(path.parent.name for path in (HOME / "pipelines").glob("*/paper.yaml"))


def of_paper(name: str) -> dict[str, str]:
    """The files of a paper's project, by path: dvc.yaml, and its pipeline's others where its commands read them.

    A pipeline whose outputs this one reads comes along.

    Raises:
        UsageError: no such paper.
    """
    known = papers()
    if name not in known:
        found = config.near(name, known)
        raise UsageError(f"--paper: expected one of {', '.join(known)}, found {name!r}{found}")
    files = {"params.yaml": DEFAULTS.read_text(encoding="utf-8")}
    for needed in closure(name):
        folder = HOME / "pipelines" / needed
        for path in sorted(folder.glob("*.yaml")):
            files[f"pipelines/{needed}/{path.name}"] = path.read_text(encoding="utf-8")
        place = f"pipelines/{needed}/dvc.yaml"
        files[place] = without_source(files[place])
    top = files.pop(f"pipelines/{name}/dvc.yaml")
    top = re.sub(rf"dvc repro\s(# )?pipelines/{name}/dvc\.yaml", "dvc repro", top)
    files["dvc.yaml"] = re.sub(r"^ *wdir: \.\./\.\.\n", "", top, flags=re.MULTILINE)
    title = config.parse(HOME / "pipelines" / name / "paper.yaml")["title"]
    files["README.md"] = README.format(title=title, name=name)
    return files


def closure(name: str) -> list[str]:
    """A pipeline and all whose outputs it reads, or those read."""
    found = [name]
    for one in found:  # which grows meanwhile
        text = (HOME / "pipelines" / one / "dvc.yaml").read_text(encoding="utf-8")
        read = re.findall(r"\bout/(\w+)/", text)
        found += sorted({other for other in read if (HOME / "pipelines" / other).is_dir()} - set(found))
    return found

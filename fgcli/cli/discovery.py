"""Which stages there are, told by the text of their files: importing them all would make `fg --help` slow."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

import fgcli

HOME = Path(fgcli.__file__).parent


class Stage(NamedTuple):
    """A file of fgcli/stages with `class Params` and `def run`."""

    help: str
    """The first line of its docstring."""
    reads: bool
    """Whether `run` takes a file; those stand before its `output`."""


@cache
def stages() -> dict[str, Stage]:
    """Stages by name, in the order of their sections in params.yaml; one without comes last."""
    order = re.findall(r"^(\w+):", (HOME / "config/defaults.yaml").read_text(encoding="utf-8"), re.MULTILINE)
    files = {path.stem: path for path in sorted((HOME / "stages").glob("[a-z]*.py"))}
    names = sorted(files, key=lambda name: order.index(name) if name in order else len(order))
    found = {name: stage(files[name].read_text(encoding="utf-8")) for name in names}
    return {name: what for name, what in found.items() if what}


def stage(source: str) -> Stage | None:
    """The stage that a file's text defines; None where it defines none."""
    run = re.search(r"^def run\(\s*(\w*)", source, re.MULTILINE)
    if not run or not re.search(r"^class Params\b", source, re.MULTILINE):
        return None
    line = re.match(r'"""(.*?)("""|\n)', source)
    return Stage(line[1] if line else "", run[1] not in ("", "output"))

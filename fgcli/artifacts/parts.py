"""Work in parts: each part a file beside the output, so that a killed run goes on where it was."""

from __future__ import annotations

import functools
import hashlib
import json
import shutil
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import fgcli
from fgcli.artifacts.files import write_aside
from fgcli.console import progress, say
from fgcli.errors import FgError
from fgcli.workers import each

SHOWING = ("cli", "reports")
"""Packages whose code changes no result."""


def work_folder(output: Path) -> Path:
    """Where the parts of a file in the making lie; the caller removes it when the file is whole."""
    return output.with_name(f".{output.stem}.work")


def fingerprint(depends_on: Any) -> str:
    """A name for work that depends on this JSON and on fg's code: what lies under another name is other work."""
    return name_of([code(), depends_on])


def name_of(depends_on: Any) -> str:
    """A name for work that depends on this JSON, whatever the code."""
    return hashlib.sha256(json.dumps(depends_on, sort_keys=True).encode()).hexdigest()[:16]


@functools.cache
def code() -> str:
    """The hash of fg's sources, but for those that only show: else changed code would go on with old results."""
    root = Path(fgcli.__file__).parent
    sources = [path for path in sorted(root.rglob("*.py")) if path.relative_to(root).parts[0] not in SHOWING]
    return hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()


def begin(output: Path, depends_on: Any, resume: bool) -> Path:
    """An existing folder for the parts of `output`; parts of other work are removed, with `resume` off all of them.

    Args:
        output: the file in the making.
        depends_on: JSON of all that the parts depend on, fg's code apart.
        resume: whether parts of the same work may be taken up.

    Raises:
        FgError: the folder of the output cannot be written.
    """
    folder = work_folder(output) / fingerprint(depends_on)
    try:
        for old in folder.parent.iterdir() if folder.parent.exists() else ():
            if old != folder or not resume:
                shutil.rmtree(old)
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FgError(
            f"{output}: expected a folder that can be written, found one that cannot; choose another output"
        ) from error
    return folder


class Part(NamedTuple):
    """A piece of the work: the file that takes what becomes of `item`, and how many rows that is."""

    file: Path
    rows: int
    item: Any


def make(
    job: Callable[[Any, Any], Mapping[str, Any]],
    todo: Sequence[Part],
    build: Callable[[], Any],
    processes: int,
    title: str,
    unit: str,
    own: Any = None,
    cluster: str = "",
) -> None:
    """Makes the parts that are not there yet: workers compute, see `fgcli.workers.each`, and this process writes.

    Args:
        job: (tools, item) -> arrays of a part.
        todo: all parts. build, processes, own, cluster: as for `each`.
        title: the stage. unit: what its rows are.
    """
    left, total = [part for part in todo if not part.file.exists()], sum(part.rows for part in todo)
    done = total - sum(part.rows for part in left)
    if done:
        say(f"{title}: going on after {done} of {total} {unit}")
    numbered = list(enumerate(part.item for part in left))
    with progress(title, total, done, unit) as advance:
        for i, arrays in each(partial(_numbered, job), numbered, build, processes, title, own, cluster):
            save_part(left[i].file, arrays)
            advance(left[i].rows)


def _numbered(
    job: Callable[[Any, Any], Mapping[str, Any]], tools: Any, item: tuple[int, Any]
) -> tuple[int, Mapping[str, Any]]:
    return item[0], job(tools, item[1])


def save_part(file: Path, arrays: Mapping[str, Any]) -> None:
    """Writes a part, whole or not at all."""
    with write_aside(file) as aside, open(aside, "wb") as stream:
        np.savez(stream, **arrays)


def load_part(file: Path) -> dict[str, np.ndarray]:
    """The arrays of a part.

    Raises:
        FgError: it is damaged.
    """
    try:
        with np.load(file, allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise FgError(
            f"{file}: expected a part of an earlier run, found damage; start anew with --no-resume"
        ) from error

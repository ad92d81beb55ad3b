"""What a project's folder holds: each artifact is loaded once, and once more when its file has changed."""

from __future__ import annotations

import functools
import html
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import gradio as gr

from fgcli.capabilities import Generator
from fgcli.certificate import Examiner
from fgcli.editors import Editors
from fgcli.errors import FgError, told
from fgcli.generators import store
from fgcli.stages import pictures
from fgcli.steered import Files as SteeredFiles
from fgcli.steered import Studio
from fgcli.studio.watch import stamp
from fgcli.subjects import HeadFiles, Subjects

MADE_BY = {"faces": "fg preprocess", "generator": "fg train", "latents": "fg invert"}
MADE_BY |= {name: f"fg {name}" for name in ("density", "editor", "judges", "flame", "conditions", "regressor")}
"""Commands that make the artifacts."""
LARGEST_MB = 50
"""Of a photo that is dropped."""
FACE = "largest"
"""Which face of a photo of several people is taken."""
SLOW: dict[str, Any] = {"api_visibility": "private"}
"""How events are handled that take a while; with `show_progress_on` what they may cover, also by the word Error."""
HIDDEN: dict[str, Any] = SLOW | {"show_progress": "hidden"}
"""How the others are: what is there stays to be seen when a sentence tells an error."""
LIVE: dict[str, Any] = HIDDEN | {"trigger_mode": "always_last"}
"""How events are handled whose newest values alone count."""
AT_ONCE: dict[str, Any] = LIVE | {"queue": False}
"""The same past gradio's queue, which takes two more requests; but errors of such a handler are not shown."""
T = TypeVar("T")


@dataclass
class Project:
    """The artifacts of a folder.

    Attributes:
        out: the folder.
        debug: whether the traceback of an error is printed, too.
    """

    out: Path
    debug: bool = False
    _kept: dict[str, tuple[object, Any]] = field(default_factory=dict)
    _lock: threading.RLock = field(default_factory=threading.RLock)

    @property
    def own(self) -> Path:
        """The folder of what the studio writes."""
        return self.out / "studio"

    def path(self, name: str) -> Path:
        """Of an artifact."""
        return self.out / f"{name}.h5"

    def there(self, name: str) -> Path | None:
        """Its path, if it is there."""
        return self.path(name) if self.path(name).exists() else None

    def need(self, *names: str) -> None:
        """Raises FgError where one of these artifacts is not there, naming what makes it."""
        for name in names:
            if not self.there(name):
                raise FgError(
                    f"{self.path(name)}: expected this file, found none; run {MADE_BY[name]}, then load this page again"
                )

    def once(self, name: str, make: Callable[[], T], *reads: str) -> T:
        """What `make` makes of the artifacts `reads`, kept under a name until one of them changes."""
        stamps = [stamp(self.path(read)) for read in reads]
        with self._lock:
            if name not in self._kept or self._kept[name][0] != stamps:
                self._kept[name] = (stamps, make())
            found: T = self._kept[name][1]
            return found

    def said(self, work: Callable[..., T]) -> Callable[..., T]:
        """The handler `work`, whose errors the page tells in one sentence."""

        @functools.wraps(work)
        def handler(*values: Any) -> T:
            try:
                return work(*values)
            except gr.Error:
                raise
            except Exception as error:
                raise gr.Error(plainly(error), duration=None, print_exception=self.debug) from error

        return handler

    def since(self, *names: str) -> Callable[[Callable[..., T]], Callable[..., T]]:
        """Makes handlers as `said` does, of what a page shows of artifacts: they hold until one of these changes."""
        shown = {name: stamp(self.path(name)) for name in names if self.there(name)}

        def wrapped(work: Callable[..., T]) -> Callable[..., T]:
            @functools.wraps(work)
            def handler(*values: Any) -> T:
                for name, before in shown.items():
                    if stamp(self.path(name)) != before:
                        raise FgError(
                            f"{self.path(name)}: expected the file that this page shows, found another; load "
                            "the page again"
                        )
                return work(*values)

            return self.said(handler)

        return wrapped

    def generator(self) -> Generator:
        """The generator."""
        return self.once("generator", lambda: store.load(self.path("generator")), "generator")

    def heads(self) -> HeadFiles:
        """By what the heads of photos are found."""
        return HeadFiles(self.path("flame"), self.path("regressor"))

    def people(self) -> Subjects:
        """What makes codes of rows."""
        generator, latents = self.path("generator"), self.path("latents")
        make = lambda: Subjects([], FACE, generator, latents, self.generator(), self.heads())  # noqa: E731
        return self.once("people", make, "generator", "latents")

    def photographed(self) -> Subjects:
        """The same, and codes of photos."""

        def make() -> Subjects:
            self.people().learn_photos(self.path("generator"), FACE, self.heads())
            return self.people()

        return self.once("photographed", make, "generator", "latents", "flame", "regressor")

    def editors(self) -> Editors:
        """What edits codes."""
        return self.once("editors", lambda: pictures.editors_of(self.files()), "editor", "generator")

    def examiner(self) -> Examiner:
        """What certifies edits."""
        make = lambda: Examiner.of(self.generator(), self.there("judges"), self.there("density"), self.path("latents"))  # noqa: E731
        return self.once("examiner", make, "generator", "judges", "density", "latents")

    def files(self) -> pictures.Files:
        """What `fg edit` reads here."""
        generator, editor, latents = (self.path(name) for name in ("generator", "editor", "latents"))
        return pictures.Files(generator, editor, latents, self.heads(), self.there("judges"), self.there("density"))

    def steering(self) -> Studio:
        """A generator that heads steer, and what it needs."""
        names = ("generator", "latents", "conditions", "flame", "regressor")
        return self.once("steering", lambda: Studio(SteeredFiles(*map(self.path, names)), FACE, "Steer"), *names)


def plainly(error: Exception) -> str:
    """An error as one sentence, which names the command that makes the artifact it is about.

    >>> plainly(FgError("out/latents.h5: expected codes, found damage; run the stage that writes it"))
    'out/latents.h5: expected codes, found damage; run fg invert'
    """
    text = told(error)
    found = re.fullmatch(r"(.*?(\w+)\.h5: .*run )(the stage that writes it|its stage again)", text)
    return found[1] + MADE_BY[found[2]] if found and found[2] in MADE_BY else text


def paragraph(text: str) -> str:
    """Something to read, as HTML."""
    return f'<p role="status">{html.escape(text)}</p>'


def table(header: list[str], rows: list[list[str]]) -> str:
    """HTML of a table; the first value of each row names it."""
    head = "".join(f'<th scope="col">{html.escape(text)}</th>' for text in header)
    body = "".join(
        f'<tr><th scope="row">{html.escape(first)}</th>{"".join(f"<td>{html.escape(v)}</td>" for v in rest)}</tr>'
        for first, *rest in rows
    )
    return f'<table class="numbers"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'

"""Videos of a face, and folders of their frames: which frames there are, and the face in each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Generic, TypeVar

from PIL import Image

from fgcli import archives
from fgcli.console import progress, say
from fgcli.datasets.files import by_number
from fgcli.errors import FgError
from fgcli.faces.cutter import Cut, Cutter
from fgcli.faces.photos import BadPhotoError
from fgcli.pixels import video
from fgcli.reports.grid import save_picture
from fgcli.subjects import expanded

RATE = Fraction(25)
"""Frames a second of a folder's pictures."""


def extracted(source: Path, folder: Path) -> None:
    """Writes the frames of a video as frame-00001.png and so on into a folder."""
    with progress("frames", video.about(source)[0], unit="frames") as advance:
        for number, frame in enumerate(video.frames(source), 1):
            save_picture(folder / f"frame-{number:05d}.png", Image.fromarray(frame))
            advance()


Made = TypeVar("Made")


@dataclass(frozen=True)
class Followed(Generic[Made]):
    """What was made of the faces of a video.

    Attributes:
        made: of each frame with a face. at: which frame that is, from 0.
        frames: how many there are. faceless: those without a face, from 1.
    """

    made: list[Made]
    at: list[float]
    frames: int
    faceless: list[int]


def about(source: Path) -> tuple[int, Fraction]:
    """How many frames a video or a folder says it has, 0 if it does not, and how many a second.

    Raises:
        UsageError: a video, and no package for videos.
        FgError: no such file or folder, or one without pictures.
    """
    if not archives.exists(source):
        raise FgError(f"{source}: expected a video or a folder of its frames, found no such file; check the path")
    if archives.is_folder(source):
        return len(pictures_of(source)), RATE
    video.verify_package(source)
    return video.about(source)


def pictures_of(folder: Path) -> list[str]:
    """The pictures of a folder in the order of their numbers: frame-2.png before frame-10.png."""
    return sorted(expanded([str(folder)]), key=by_number)


def cuts(source: Path, cutter: Cutter) -> Iterator[Cut | str]:
    """The face of each frame, or why there is none."""
    frames: Iterable[Any] = pictures_of(source) if archives.is_folder(source) else video.frames(source)
    for frame in frames:
        try:
            yield cutter.photo(Path(frame)) if isinstance(frame, str) else cutter.pixels(frame)
        except (FgError, BadPhotoError) as error:
            yield str(error)


def followed(source: Path, cutter: Cutter, work: Callable[[Cut], Made]) -> Followed[Made]:
    """What `work` makes of the face in each frame; frames without one are told.

    Raises:
        FgError: fewer than two frames, or no face in any.
    """
    made, at, faceless, reason, number = [], [], [], "no frames", 0
    with progress("frames", about(source)[0], unit="frames") as advance:
        for number, cut in enumerate(cuts(source, cutter), 1):
            if isinstance(cut, str):
                faceless.append(number)
                reason = cut
            else:
                made.append(work(cut))
                at.append(number - 1.0)
            advance()
    if number < 2:
        raise FgError(
            f"{source}: expected at least two frames, found {number}; give a video, or a folder of its frames"
        )
    if not made:
        raise FgError(f"{source}: expected a face in some of {number} frames, found none ({reason}); choose another")
    if faceless:
        say(f"{source}: {len(faceless)} of {number} frames follow their neighbours, without a face: {listed(faceless)}")
    return Followed(made, at, number, faceless)


def listed(numbers: list[int], most: int = 10) -> str:
    """Some numbers.

    >>> listed([1, 2, 3]), listed([1, 2, 3], 2)
    ('1, 2, 3', '1, 2 and 1 more')
    """
    more = f" and {len(numbers) - most} more" if len(numbers) > most else ""
    return ", ".join(map(str, numbers[:most])) + more

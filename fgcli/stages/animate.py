"""A conditional generator, the head of a face and how another one moves -> a video."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fgcli.console import progress
from fgcli.errors import UsageError

if TYPE_CHECKING:
    import numpy as np

    from fgcli.heads.parameters import Parameters
    from fgcli.steered import Files, Person, Studio

PART = 16
"""Frames that are made at a time."""
RATE = Fraction(25)
"""Frames a second of a sequence, which does not tell."""


def animate(
    what: str,
    sequence: Path | None,
    driver: Path | None,
    rate: float,
    smooth: bool,
    window: float,
    output: Path,
    face: str,
    files: Files,
) -> dict[str, Any]:
    """A face that moves as a sequence says, or as the face of a driver does: its expression, jaw and head.

    Args:
        what: photo or row. sequence: file of parameters, or driver: video, or folder of frames; one of the two.
        rate: frames a second; 0: the driver's own, or RATE.
        smooth: whether the movement is smoothed, by a Gaussian window of deviation `window`, frames.
        output: .mp4 or .gif. face: which face of a photo. files: what is read.

    Raises:
        UsageError: not one of sequence and driver, a generator that nothing steers, or an output that is no video's.
        FgError: no usable face, a sequence that cannot be read or is of another head, a driver without faces.
    """
    import torch

    from fgcli.pixels.video import save_video
    from fgcli.steered import Studio

    verify(what, sequence, driver, output, files)
    with torch.no_grad():
        studio = Studio(files, face, "fg animate")
        if sequence is not None:
            movement, own_rate = read(sequence, studio), RATE
        else:
            assert driver is not None
            movement, own_rate = watched(driver, studio)
    person = studio.person(what)
    with torch.no_grad():
        heads = course(person.head, *movement, window if smooth else 0.0)
        chosen = Fraction(rate).limit_denominator(1000) or own_rate
        save_video(output, drawn(studio, person, heads), chosen)
    return {
        "output": str(output),
        "frames": len(heads),
        "rate": float(chosen),
        "seconds": round(float(len(heads) / chosen), 2),
    }


def verify(what: str, sequence: Path | None, driver: Path | None, output: Path, files: Files) -> None:
    """Raises unless it is told what to follow, and the output can be written."""
    from fgcli.artifacts.outputs import verify_outputs
    from fgcli.pixels import video
    from fgcli.subjects import is_photo

    if (sequence is None) == (driver is None):
        raise UsageError("fg animate: expected --sequence or --driver, found both or neither; give one")
    if output.suffix.lower() not in video.FORMATS:
        endings = " or ".join(video.FORMATS)
        raise UsageError(f"-o {output}: expected a name that ends in {endings}, found another; rename it")
    video.verify_package(output)
    photos = [Path(what)] if is_photo(what) else []
    verify_outputs([sequence, driver, *photos, *files.paths()], {"-o": output}, {"-o": ""})


Movement = tuple["Parameters | Any", list[float], int]
"""Heads of another face, or a sequence; the moments at which they are known, in frames; how many frames there are."""


def read(path: Path, studio: Studio) -> Movement:
    """A sequence of the generator's head."""
    from fgcli.foreign import sequences

    found = sequences.load(path)
    found.verify(studio.told)
    return found, [float(i) for i in range(len(found))], len(found)


def watched(driver: Path, studio: Studio) -> tuple[Movement, Fraction]:
    """The heads of a driver's face, and the frames a second."""
    from fgcli import frames
    from fgcli.heads.parameters import Parameters

    _, rate = frames.about(driver)
    found = frames.followed(driver, studio.cutter, lambda cut: studio.fitted(cut, str(driver)))
    return (Parameters.joined(found.made), found.at, found.frames), rate


def course(own: Parameters, moving: Any, at: list[float], frames: int, window: float) -> Parameters:
    """A head in every frame: its own, but for expression, jaw and head pose, which are those of what moves."""
    import torch

    from fgcli.fitting.over_time import smoothed
    from fgcli.heads.parameters import Parameters

    rows = own.rows([0] * len(at))
    if isinstance(moving, Parameters):
        heads = rows.replace(expression=moving.expression, pose=moving.pose)
    else:
        heads = moving.applied(own)
    known, moments = torch.tensor(at), torch.arange(frames, dtype=torch.float32)
    if window == 0 and len(at) == frames:
        return heads
    return smoothed(heads, known, moments, window)


def drawn(studio: Studio, person: Person, heads: Parameters) -> Iterator[np.ndarray]:
    """The pictures, part by part."""
    import torch

    with progress("animate", len(heads), unit="frames") as advance:
        for part in torch.arange(len(heads)).split(PART):
            yield from studio.pictures(person, heads.rows(part))[0]
            advance(len(part))

"""A video of a face, or a folder of its frames -> more frames: codes between those of its frames.

Ghosh's thesis, appendix C.1: "derive intermediate latent codes by weighted averaging of neighboring latent codes using
a Gaussian window". Its frames are tiled; here a frame is the aligned face, at the generator's size.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fgcli.console import progress, say
from fgcli.errors import FgError, UsageError

if TYPE_CHECKING:
    import numpy as np
    import torch

    from fgcli.capabilities import Generator
    from fgcli.faces.cutter import Cut, Cutter

RATE = Fraction(25)
"""Frames a second of a folder's pictures."""


def keyframes(
    source: Path, times: int, window: float, rate: float, output: Path, face: str, generator: Path, latents: Path
) -> dict[str, Any]:
    """A video, or a folder of pictures, with `times` as many frames; at `rate` frames a second, 0: `times` as many.

    Raises:
        UsageError: an output that is neither, or a video and no package for it.
        FgError: fewer than two frames, or no face in any.
    """
    import torch

    from fgcli.faces.cutter import Cutter
    from fgcli.generators import store
    from fgcli.subjects import projector

    count, own_rate = about(source, output, [generator, latents])
    store.verify(latents, generator)
    model = store.load(generator)
    project, cutter = projector(latents, model), Cutter.of(generator, face)
    values, at, faceless, reason, number = [], [], [], "no frames", 0
    with progress("frames", count, unit="frames") as advance:
        for number, cut in enumerate(cuts(source, cutter), 1):
            if isinstance(cut, str):
                faceless.append(number)
                reason = cut
            else:
                values.append(project(cut.image).values)
                at.append(number - 1.0)
            advance()
    if number < 2:
        raise FgError(
            f"{source}: expected at least two frames, found {number}; give a video, or a folder of its frames"
        )
    if not values:
        raise FgError(f"{source}: expected a face in some of {number} frames, found none ({reason}); choose another")
    if faceless:
        say(f"{source}: {len(faceless)} of {number} frames follow their neighbours, without a face: {listed(faceless)}")
    moments = torch.arange(number * times) / times
    pictures = between(model, torch.cat(values), torch.tensor(at), moments, window)
    write(output, pictures, Fraction(rate).limit_denominator(1000) or own_rate * times)
    return {"output": str(output), "frames": number, "written": len(moments), "faceless": faceless}


def about(source: Path, output: Path, reads: list[Path]) -> tuple[int, Fraction]:
    """How many frames the source says it has, and its rate, once it can be read and the output be written.

    Raises:
        UsageError: an output that is neither a video nor a folder, or no package for videos.
        FgError: no source; a folder that is not empty, or a file that fg did not write.
    """
    from fgcli.artifacts.outputs import verify_outputs
    from fgcli.pixels import video

    folder = not output.suffix
    if not folder and output.suffix.lower() != video.FORMAT:
        raise UsageError(
            f"-o {output}: expected a name that ends in {video.FORMAT}, or a folder's without an ending, found "
            f"{output.suffix}; rename it"
        )
    if not source.exists():
        raise FgError(f"{source}: expected a video or a folder of its frames, found no such file; check the path")
    verify_outputs([source, *reads], {"-o": output}, {"-o": "folder" if folder else ""})
    if folder and output.is_dir() and any(output.iterdir()):
        raise FgError(f"-o {output}: expected a new or empty folder, found one with files; name another")
    for path in ([] if folder else [output]) + ([] if source.is_dir() else [source]):
        video.verify_package(path)
    return (len(pictures_of(source)), RATE) if source.is_dir() else video.about(source)


def pictures_of(folder: Path) -> list[str]:
    """The pictures of a folder in the order of their numbers: frame-2.png before frame-10.png."""
    from fgcli.subjects import expanded

    parts = {name: re.split(r"(\d+)", name) for name in expanded([str(folder)])}
    return sorted(parts, key=lambda name: [int(p) if i % 2 else p for i, p in enumerate(parts[name])])


def cuts(source: Path, cutter: Cutter) -> Iterator[Cut | str]:
    """The face of each frame, or why there is none."""
    from fgcli.faces.photos import BadPhotoError
    from fgcli.pixels import video

    frames: Iterable[Any] = pictures_of(source) if source.is_dir() else video.frames(source)
    for frame in frames:
        try:
            yield cutter.photo(Path(frame)) if isinstance(frame, str) else cutter.pixels(frame)
        except (FgError, BadPhotoError) as error:
            yield str(error)


def between(
    model: Generator, values: torch.Tensor, at: torch.Tensor, moments: torch.Tensor, window: float
) -> Iterator[np.ndarray]:
    """Pictures (h, w, 3) of the codes at `moments`, part by part.

    Each is the mean of the codes, weighted by a Gaussian of deviation `window` around its moment. Where no frame is
    near, the nearest counts.

    Args:
        values: codes (n, l, d). at: their moments (n), in frames, as are `moments` and `window`.
    """
    import torch

    from fgcli.codes import coded
    from fgcli.reports.pictures import PART, decoded

    for part in moments.split(PART):
        weights = torch.softmax(-(part[:, None] - at).square() / (2 * window**2), 1)
        yield from decoded(model, coded(model, torch.einsum("mn,nld->mld", weights, values)))


def write(output: Path, pictures: Iterable[np.ndarray], rate: Fraction) -> None:
    """A video; or a folder of frame-00001.png and so on."""
    from PIL import Image

    from fgcli.pixels.video import save_video
    from fgcli.reports.grid import save_picture

    if output.suffix:
        save_video(output, pictures, rate)
        return
    for number, picture in enumerate(pictures, 1):
        save_picture(output / f"frame-{number:05d}.png", Image.fromarray(picture))


def listed(numbers: list[int], most: int = 10) -> str:
    """Some numbers.

    >>> listed([1, 2, 3]), listed([1, 2, 3], 2)
    ('1, 2, 3', '1, 2 and 1 more')
    """
    more = f" and {len(numbers) - most} more" if len(numbers) > most else ""
    return ", ".join(map(str, numbers[:most])) + more

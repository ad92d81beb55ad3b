"""A video of a face, or a folder of its frames -> more frames: codes between those of its frames.

Ghosh's thesis, appendix C.1: "derive intermediate latent codes by weighted averaging of neighboring latent codes using
a Gaussian window". Its frames are tiled; here a frame is the aligned face, at the generator's size.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fgcli.errors import FgError, UsageError

if TYPE_CHECKING:
    import numpy as np
    import torch

    from fgcli.capabilities import Generator


def keyframes(
    source: Path, times: int, window: float, rate: float, output: Path, face: str, generator: Path, latents: Path
) -> dict[str, Any]:
    """A video, or a folder of pictures, with `times` as many frames; at `rate` frames a second, 0: `times` as many.

    Raises:
        UsageError: an output that is neither, or a video and no package for it.
        FgError: fewer than two frames, or no face in any.
    """
    import torch

    from fgcli import frames
    from fgcli.capabilities import Conditional, require
    from fgcli.faces.cutter import Cutter
    from fgcli.generators import store
    from fgcli.subjects import projector

    verify(source, output, [generator, latents])
    _, own_rate = frames.about(source)
    store.verify(latents, generator)
    model = store.load(generator)
    require(model, refused=(Conditional,), by="fg keyframes")
    project, cutter = projector(latents, model), Cutter.of(generator, face)
    found = frames.followed(source, cutter, lambda cut: project(cut.image).values)
    moments = torch.arange(found.frames * times) / times
    pictures = between(model, torch.cat(found.made), torch.tensor(found.at), moments, window)
    write(output, pictures, Fraction(rate).limit_denominator(1000) or own_rate * times)
    told = {"frames": found.frames, "written": len(moments), "faceless": found.faceless}
    return {"output": str(output), **told}


def verify(source: Path, output: Path, reads: list[Path]) -> None:
    """Raises unless the output can be written.

    Raises:
        UsageError: an output that is neither a video nor a folder, or no package for videos.
        FgError: a folder that is not empty, or a file that fg did not write.
    """
    from fgcli.artifacts.outputs import verify_outputs
    from fgcli.pixels import video

    folder = not output.suffix
    if not folder and output.suffix.lower() != video.FORMAT:
        raise UsageError(
            f"-o {output}: expected a name that ends in {video.FORMAT}, or a folder's without an ending, found "
            f"{output.suffix}; rename it"
        )
    verify_outputs([source, *reads], {"-o": output}, {"-o": "folder" if folder else ""})
    if folder and output.is_dir() and any(output.iterdir()):
        raise FgError(f"-o {output}: expected a new or empty folder, found one with files; name another")
    if not folder:
        video.verify_package(output)


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
    from fgcli.fitting.over_time import window_weights
    from fgcli.reports.pictures import PART, decoded

    for part in moments.split(PART):
        weights = window_weights(at, part, window)
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

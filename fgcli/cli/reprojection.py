"""Commands that project a picture onto what the generator can make: mix, inpaint, merge, retouch, deblur, keyframes."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from fgcli.cli.pictures import (
    Debug,
    Flame,
    Generator,
    Inputs,
    Json,
    Latents,
    OneFace,
    Output,
    Regressor,
    command,
    finite,
    report,
)
from fgcli.config.fields import strengths

Photo = Annotated[str, typer.Argument(metavar="PHOTO", help="Photo file.")]
PhotoOrRow = Annotated[
    str, typer.Argument(metavar="PHOTO|ROW", help="Photo file, or row number of the file of --latents.")
]
PasteBack = Annotated[bool, typer.Option(help="Also write the whole photo with each change.")]


def mix_command(
    what: Inputs,
    others: Annotated[
        list[str] | None,
        typer.Option("--with", help="Face of a column, or folder of them; may be given again. By default the same."),
    ] = None,
    layers: Annotated[
        str,
        typer.Option(help="Layers FROM:TO, TO not included, that come from the column; by default the coarser half."),
    ] = "",
    output: Output = Path("mix.png"),
    paste_back: PasteBack = True,
    face: OneFace = "only",
    generator: Generator = Path("out/generator.h5"),
    latents: Latents = Path("out/latents.h5"),
    flame: Flame = Path("out/flame.h5"),
    regressor: Regressor = Path("out/regressor.h5"),
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Style mixing: the face of each row with some code layers of the face of each column.

    Layers count from the coarsest; the generator must have several. Beside the grid each photo of a row is written with
    the change of each column, as mix-anna-ben.png.

    Example: fg mix anna.jpg 12 --with ben.jpg --with 40 --layers 0:4 -o mix.png
    """
    from fgcli.stages import mix as stage
    from fgcli.subjects import HeadFiles

    heads = HeadFiles(flame, regressor)
    work = partial(stage.mix, what, others or [], layers, output, paste_back, face, generator, latents, heads)
    report(debug, json, work, [*what, *(others or []), generator, latents, flame, regressor], output)


def inpaint_command(
    photo: Photo,
    hole: Annotated[
        str,
        typer.Option(
            help="What to fill: X,Y,WIDTH,HEIGHT in px of the photo as viewers show it, from the top left; or a mask, "
            "a picture of its size, white there."
        ),
    ],
    output: Output = Path("inpaint.png"),
    face: OneFace = "only",
    generator: Generator = Path("out/generator.h5"),
    latents: Latents = Path("out/latents.h5"),
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Fill a hole in the face of a photo by what the generator makes of its surroundings.

    Writes a strip and, beside it, the photo, as inpaint-anna-inpainted.png: nothing outside the hole changes, nothing
    in it counts. A generator that predicts masks fills what lies on the face.

    Example: fg inpaint photo.jpg --hole 120,80,60,40 -o filled.png
    """
    from fgcli.stages import reprojection as stage

    work = partial(stage.inpaint, photo, hole, output, face, generator, latents)
    report(debug, json, work, [photo, hole, generator, latents], output)


def merge_command(
    first: PhotoOrRow,
    second: PhotoOrRow,
    mask: Annotated[
        Path | None,
        typer.Option(help="Picture, laid over the aligned faces, white where the second stands; else its right half."),
    ] = None,
    output: Output = Path("merge.png"),
    face: OneFace = "only",
    generator: Generator = Path("out/generator.h5"),
    latents: Latents = Path("out/latents.h5"),
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Put two faces together and make one face of them.

    Writes a strip and, beside it, the first photo with the face that results, as merge-anna-ben.png.

    Example: fg merge anna.jpg ben.jpg -o merged.png
    """
    from fgcli.stages import reprojection as stage

    work = partial(stage.merge, first, second, mask, output, face, generator, latents)
    report(debug, json, work, [first, second, *([mask] if mask else []), generator, latents], output)


def retouch_command(
    edited: Annotated[str, typer.Argument(metavar="EDITED", help="Photo that was painted on by hand.")],
    original: Annotated[
        str | None, typer.Option(help="The photo before: only where the two differ, and a soft edge, it is changed.")
    ] = None,
    output: Output = Path("retouch.png"),
    face: OneFace = "only",
    generator: Generator = Path("out/generator.h5"),
    latents: Latents = Path("out/latents.h5"),
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Turn paint strokes on a face into what the generator can make of them.

    Writes a strip and, beside it, the photo, as retouch-anna-retouched.png. Without --original its whole face becomes
    what the generator makes of it.

    Example: fg retouch painted.png --original photo.jpg -o retouch.png
    """
    from fgcli.stages import reprojection as stage

    work = partial(stage.retouch, edited, original, output, face, generator, latents)
    report(debug, json, work, [edited, *([original] if original else []), generator, latents], output)


def deblur_command(
    what: Inputs,
    strength: Annotated[str, typer.Option(help="One strength, or FROM:TO:COUNT; below 0 blurs.")] = "0.5:2:4",
    blur: Annotated[
        float, typer.Option(min=0.1, callback=finite, help="Deviation of the blur that is undone, px of the crop.")
    ] = 1.0,
    output: Output = Path("deblur.png"),
    paste_back: PasteBack = True,
    face: OneFace = "only",
    generator: Generator = Path("out/generator.h5"),
    latents: Latents = Path("out/latents.h5"),
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Sharpen faces: move their codes away from those of blurred copies.

    Writes a strip and, beside it, each photo at each strength, as deblur-anna-+1.png.

    Example: fg deblur photo.jpg --strength 0.5:2:4 -o deblur.png
    """
    from fgcli.stages import reprojection as stage

    work = partial(stage.deblur, what, strengths(strength), blur, output, paste_back, face, generator, latents)
    report(debug, json, work, [*what, generator, latents], output)


def keyframes_command(
    source: Annotated[Path, typer.Argument(metavar="VIDEO|FOLDER", help="Video of a face, or folder of its frames.")],
    times: Annotated[int, typer.Option(min=1, max=1000, help="How many frames are written for each.")] = 4,
    window: Annotated[
        float, typer.Option(min=0.1, callback=finite, help="Deviation of the window over neighbours, in frames.")
    ] = 0.5,
    rate: Annotated[
        float,
        typer.Option(
            min=0, max=1000, callback=finite, help="Frames a second; 0: so many that the video is as long as before."
        ),
    ] = 0.0,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Video to write, .mp4, or a new folder for pictures.")
    ] = Path("keyframes.mp4"),
    face: OneFace = "largest",
    generator: Generator = Path("out/generator.h5"),
    latents: Latents = Path("out/latents.h5"),
    json: Json = False,
    debug: Debug = False,
) -> None:
    """More frames for a video: codes between those of its frames.

    Every frame that is written is the aligned face as the generator makes it, at the generator's size. A frame without
    a face is told and follows its neighbours. A folder's pictures count as 25 a second. Videos need the extra `video`.

    Example: fg keyframes clip.mp4 --times 4 --rate 25 -o slow.mp4
    """
    from fgcli.stages import keyframes as stage

    work = partial(stage.keyframes, source, times, window, rate, output, face, generator, latents)
    report(debug, json, work, [])


mix, inpaint, merge = command(mix_command), command(inpaint_command), command(merge_command)
retouch, deblur, keyframes = command(retouch_command), command(deblur_command), command(keyframes_command)

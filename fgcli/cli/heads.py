"""Commands of fitted heads: fg flame fits, fg flame render, fg flame export."""

from __future__ import annotations

from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from fgcli.cli.pictures import Debug, Json, Output, command, finite, report

Heads = Annotated[list[str], typer.Argument(metavar="ROW|NPZ...", help="Rows of flame.h5, or files of parameters.")]
Flame = Annotated[Path, typer.Option(help="Fitted heads.")]
Faces = Annotated[Path, typer.Option(help="Their photos.")]


class Skin(StrEnum):
    """What covers the head."""

    photo = "photo"
    model = "model"
    clay = "clay"
    normals = "normals"


class Order(StrEnum):
    """Orders of published vectors, and of VHAP's files."""

    deca = "deca"
    gif = "gif"
    vhap = "vhap"


SkinOption = Annotated[
    Skin, typer.Option(help="photo: what the photo shows; model: the fitted albedo; clay: none; normals: their map.")
]


def fits_command(
    what: Annotated[list[str], typer.Argument(metavar="ROW...", help="Rows of flame.h5.")],
    output: Output = Path("fits.png"),
    size: Annotated[int, typer.Option(min=1, help="Side of a picture, px.")] = 192,
    flame: Flame = Path("out/flame.h5"),
    faces: Faces = Path("out/faces.h5"),
    json: Json = False,
    debug: Debug = False,
) -> None:
    """How heads fit: photo, mesh, landmarks found (red) and fitted (green), normals, render; a row of pictures each.

    Example: fg flame fits 12 40 -o fits.png
    """
    from fgcli.stages import head_pictures as stage

    work = partial(stage.fits, what, output, flame=flame, faces=faces, size=size)
    report(debug, json, work, [flame, faces], output)


def render_command(
    what: Heads,
    output: Output = Path("head.png"),
    frames: Annotated[int, typer.Option(help="Pictures in the strip.")] = 7,
    yaw: Annotated[float, typer.Option(callback=finite, help="Largest turn to either side, degrees.")] = 40.0,
    size: Annotated[int, typer.Option(min=1, help="Side of a picture, px.")] = 192,
    skin: SkinOption = Skin.photo,
    flame: Flame = Path("out/flame.h5"),
    faces: Faces = Path("out/faces.h5"),
    json: Json = False,
    debug: Debug = False,
) -> None:
    """A head turning (one ROW), or one becoming another (two): a strip of pictures.

    Example: fg flame render 12 -o turn.png; fg flame render 12 40 --frames 9 -o walk.png
    """
    from fgcli.stages import head_pictures as stage

    arguments: dict[str, Any] = {"flame": flame, "faces": faces, "frames": frames, "yaw": yaw, "size": size}
    work = partial(stage.render, what, output, skin=skin.value, **arguments)
    report(debug, json, work, [*what, flame, faces], output)


def export_command(
    what: Annotated[
        list[str],
        typer.Argument(metavar="ROW|NPZ...", help="Rows of flame.h5 (npz: by default all), or files of parameters."),
    ] = [],  # noqa: B006
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write: .obj, .ply or .npz.")] = Path(
        "head.obj"
    ),
    skin: SkinOption = Skin.photo,
    neutral: Annotated[bool, typer.Option(help="Without expression and pose.")] = False,
    order: Annotated[
        Order | None,
        typer.Option(
            help="npz: one vector of 236 per head, in this published order; or vhap: a sequence of one person "
            "in FLAME, as avatar tools read it."
        ),
    ] = None,
    flame: Flame = Path("out/flame.h5"),
    faces: Faces = Path("out/faces.h5"),
    json: Json = False,
    debug: Debug = False,
) -> None:
    """A head as OBJ (with texture) or PLY (with colours), or parameters as npz, which `render` and `export` read.

    Example: fg flame export 12 -o anna.obj; fg flame export 12 40 --order deca -o two.npz;
    fg flame export --flame out/clip/flame.h5 --order vhap -o clip.npz
    """
    from fgcli.stages import head_pictures as stage

    told = order.value if order else ""
    report(
        debug,
        json,
        lambda: stage.export(what, output, flame=flame, faces=faces, skin=skin.value, neutral=neutral, order=told),
        [*what, flame, faces],
        *([output.with_suffix(s) for s in (".obj", ".mtl", ".png")] if output.suffix == ".obj" else [output]),
    )


fits, render, export = command(fits_command), command(render_command), command(export_command)

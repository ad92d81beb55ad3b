"""fg export."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from fgcli.cli.pictures import Debug, Json, command, report


def export_command(
    source: Annotated[Path, typer.Argument(metavar="FILE", help="generator.h5 or editor.h5.")],
    format: Annotated[
        str, typer.Option(help="onnx (the default), torchscript or safetensors of a generator; npz of an editor.")
    ] = "",
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="File to write; of several the name that they share: x-decoder.onnx."),
    ] = None,
    faces: Annotated[Path, typer.Option(help="What the generator was trained on: its terms travel along.")] = Path(
        "out/faces.h5"
    ),
    json: Json = False,
    debug: Debug = False,
) -> None:
    """A generator's encoder, decoder, masks and mapping for other tools; an editor's directions for numpy.

    Each is run on ten inputs beside fg's own; above a difference of 1e-4 nothing is written and the exit code is 1.

    Example: fg export out/generator.h5 --format onnx -o face.onnx; fg export out/editor.h5 -o directions.npz
    """
    from fgcli.stages import export as stage

    report(debug, json, partial(stage.export, source, format, output, faces), [])


export = command(export_command)

"""fg data: the data sets that fg reads, those that it makes, and artifacts as folders of pictures and tables."""

from __future__ import annotations

import importlib
import inspect
import textwrap
from pathlib import Path
from typing import Annotated, Any

import typer

from fgcli.cli import Group
from fgcli.cli.run import guarded, show

MADE = {"procedural_heads": ("fgcli.cli.stage:heads", "Rendered heads with exact masks, landmarks and parameters.")}
"""Data sets that fg makes: command and help."""


class Made(Group):
    """A command per data set of MADE."""

    table = MADE


data = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, add_completion=False)
make = typer.Typer(cls=Made, no_args_is_help=True, help="Make a data set.")
data.add_typer(make, name="make")


@make.callback()
def make_root() -> None:
    """Make a data set."""


@data.callback()
def root() -> None:
    """Data sets that fg reads and makes, photos that gave no face, and artifacts as folders of pictures and tables."""


Json = Annotated[bool, typer.Option("--json", help="As one JSON line.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]


@data.command("list")
def list_(json: Json = False, debug: Debug = False) -> None:
    """Each data set, the layout that it expects, and its arguments."""

    def describe() -> dict[str, str]:
        from fgcli.config import lookup
        from fgcli.datasets import DATASETS

        texts = {}
        for name, target in DATASETS.items():
            what = (importlib.import_module(target.partition(":")[0]).__doc__ or "").splitlines()[0]
            layout = (inspect.getdoc(lookup(DATASETS, name, name)) or "").partition("\n\nRaises:")[0]
            texts[name] = f"{what}\n{textwrap.indent(layout, '    ')}\n"
        return texts

    guarded(lambda: show(describe(), json), debug)


@data.command("rejected")
def rejected(
    file: Annotated[Path, typer.Argument(metavar="FACES", help="faces.h5, or sentences.h5, to look into.")] = Path(
        "out/faces.h5"
    ),
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Photos that gave no face, or sentences: each reason with its count, the most frequent first, and its photos.

    Example: fg data rejected out/faces.h5
    """

    def tell() -> None:
        found = _rejected(file)
        if json:
            show(found, json)
        else:
            print("\n".join(_lines(found)))

    guarded(tell, debug)


@data.command("export")
def export(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="faces.h5 or flame.h5.")],
    folder: Annotated[Path, typer.Argument(help="A new folder, or an empty one.")],
    json: Json = False,
    debug: Debug = False,
) -> None:
    """faces.h5 as PNG and CSV: faces, masks, labels, rows; or the numbers of flame.h5 as CSV and NPZ.

    labels.csv and masks are laid out as image_folder of preprocess reads them; fg data import takes the folder back.
    Meshes of heads are written by fg flame export. An interrupted export goes on with the same command.

    Example: fg data export out/faces.h5 faces
    """
    from fgcli.stages import data as stage

    guarded(lambda: show(stage.export(file, folder), json), debug)


@data.command("import")
def import_(
    folder: Annotated[Path, typer.Argument(help="What fg data export wrote of faces.h5, changed or not.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="faces.h5 to write.")] = Path("out/faces.h5"),
    json: Json = False,
    debug: Debug = False,
) -> None:
    """faces.h5 of an exported folder, its faces as they are: pictures may be taken out, labels, splits, masks changed.

    Example: fg data import faces -o out/faces.h5
    """
    from fgcli.stages import data as stage

    guarded(lambda: show(stage.gather(folder, output), json), debug)


def _rejected(file: Path) -> dict[str, Any]:
    """The rejected photos of a faces.h5, or texts, in groups, and the number of all."""
    from fgcli import artifacts
    from fgcli.faces.rejections import grouped

    schema = artifacts.SENTENCES if artifacts.are_sentences(file) else artifacts.FACES
    stored = artifacts.load(file, schema, ("split", "rejected/source", "rejected/reason"))
    photos = list(zip(stored["rejected/source"].tolist(), stored["rejected/reason"].tolist(), strict=True))
    groups = [
        {"reason": reason, "count": len(own), "photos": [{"source": photo, "reason": why} for photo, why in own]}
        for reason, own in grouped(photos).items()
    ]
    return {"file": str(file), "photos": len(stored["split"]) + len(photos), "rejected": len(photos), "groups": groups}


def _lines(found: dict[str, Any]) -> list[str]:
    """The same to read: photos under their reason, each with its own where these differ."""
    if not found["rejected"]:
        return [f"{found['file']}: none of {found['photos']} photos was rejected"]
    lines = [f"{found['file']}: {found['rejected']} of {found['photos']} photos rejected"]
    for group in found["groups"]:
        lines += ["", f"{group['count']} x {group['reason']}"]
        for photo in group["photos"]:
            own = "" if photo["reason"] == group["reason"] else f": {photo['reason']}"
            lines.append(f"    {photo['source']}{own}")
    return lines

"""fg flame VIDEO|FOLDER: frames -> faces.h5 -> flame.h5, the stages of photos one after the other, in a new folder."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path
from typing import Annotated, Any

import typer

from fgcli import config
from fgcli.cli.pictures import command
from fgcli.cli.run import guarded, quiet_libraries, show
from fgcli.cli.stage import Debug, Json, ParamsFiles, Sets
from fgcli.errors import FgError
from fgcli.stages import flame, preprocess


def follow_command(
    source: Annotated[Path, typer.Argument(metavar="VIDEO|FOLDER", help="Video of a face, or folder of photos.")],
    share_shape: Annotated[
        str, typer.Option(help="identity: one shape a person, whom the folder of a photo names; or none.")
    ] = "none",
    smooth: Annotated[bool, typer.Option("--smooth", help="Photos are frames in time: take the jitter out.")] = False,
    window: Annotated[float, typer.Option(help="Deviation of the Gaussian window of --smooth, frames.")] = 1.0,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="New folder to write; by default out/NAME of the video.")
    ] = None,
    regressor: Annotated[Path, typer.Option(help="regressor to read, if it is there.")] = Path("out/regressor.h5"),
    params: ParamsFiles = [],  # noqa: B006
    set: Sets = [],  # noqa: B006
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Heads of a video, or of a folder of photos: one shape for each person, parameters smooth over time.

    Writes a new folder with faces.h5, flame.h5 and their sheets, which every command takes as those of photos; of a
    video its frames, too. Videos need the extra `video`.

    Example: fg flame clip.mp4 --share-shape identity --smooth -o out/clip
    """

    def work() -> None:
        quiet_libraries()
        own = {"share_shape": share_shape, "smooth": smooth, "window": window}
        raw = config.overlay(config.read(params, set), {"flame": own})
        show(heads_of(source, output or Path("out") / source.stem, regressor, raw), json)

    guarded(work, debug)


def heads_of(source: Path, folder: Path, regressor: Path, raw: dict[str, Any]) -> dict[str, Any]:
    """Runs both stages by the params `raw`; where one fails nothing is left in the folder.

    Raises:
        FgError: no such source, no faces in it, or a folder that is not new.
    """
    from fgcli import frames
    from fgcli.artifacts.outputs import verify_outputs

    config.section(raw, "flame", flame.Params)  # mistakes show now
    frames.about(source)
    verify_outputs([source, regressor], {"-o": folder}, {"-o": "folder"})
    if folder.is_dir() and any(folder.iterdir()):
        raise FgError(f"-o {folder}: expected a new or empty folder, found one with files; name another")
    try:
        return fit(source, folder, regressor, raw)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def fit(source: Path, folder: Path, regressor: Path, raw: dict[str, Any]) -> dict[str, Any]:
    """Fills the folder."""
    from fgcli import archives, frames

    table, photos = folder / "people.csv", source
    if not archives.is_folder(source):
        photos = folder / "frames" / source.stem
        frames.extracted(source, photos)
    name_people(photos, table)
    data = {"name": "image_folder", "path": str(photos), "attributes": str(table), "label": photos.name}
    raw = config.overlay(raw, {"preprocess": {"datasets": [data], "val": 0.0, "test": 0.0}})
    faces, sheet = folder / "faces.h5", folder / "faces.png"
    cut = preprocess.run(faces, sheet, params=config.section(raw, "preprocess", preprocess.Params))
    params = config.section(raw, "flame", flame.Params)
    told = flame.run(faces, regressor, folder / "flame.h5", folder / "flame.png", params=params)
    return {"faces": str(faces), "rejected": cut["rejected"], **told}


def name_people(photos: Path, table: Path) -> None:
    """A table that names the person of each photo below a folder: the folder that it lies in."""
    from fgcli.artifacts import write_aside
    from fgcli.datasets.files import photos_below

    with write_aside(table) as part, open(part, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "identity"])
        for path in photos_below(photos):
            writer.writerow([path.relative_to(photos).as_posix(), path.parent.name])


follow = command(follow_command)

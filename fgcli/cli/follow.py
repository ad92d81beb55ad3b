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
from fgcli.stages.data import UNFINISHED, verify_folder


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
    """Runs both stages by the params `raw`. Where one fails nothing is left in the folder; what was stopped goes on.

    Raises:
        UsageError: a folder with files, or that another command left unfinished.
        FgError: no such source, or no faces in it.
    """
    from fgcli import frames
    from fgcli.artifacts.locks import held
    from fgcli.artifacts.outputs import verify_outputs

    config.section(raw, "flame", flame.Params)  # mistakes show now
    frames.about(source)
    verify_outputs([source, regressor], {"-o": folder}, {"-o": "folder"})
    with held([folder]):
        verify_folder(folder, hash := depends_on(source, regressor, raw))
        folder.mkdir(parents=True, exist_ok=True)
        (folder / UNFINISHED).write_text(hash)
        try:
            told = fit(source, folder, regressor, raw)
        except FgError:
            shutil.rmtree(folder)
            raise
        (folder / UNFINISHED).unlink()
    return told


def depends_on(source: Path, regressor: Path, raw: dict[str, Any]) -> str:
    """A hash of all that the heads depend on: of a folder the names, sizes and times of its photos."""
    from fgcli import artifacts
    from fgcli.artifacts.parts import fingerprint
    from fgcli.datasets.files import photos_below

    files = [file for file in (source, regressor) if file.is_file()]
    seen = [] if source in files else [(path.as_posix(), path.stat()) for path in photos_below(source)]
    photos = [(path, status.st_size, status.st_mtime_ns) for path, status in seen]
    return fingerprint([str(source), photos, [artifacts.sha256(file) for file in files], raw])


def fit(source: Path, folder: Path, regressor: Path, raw: dict[str, Any]) -> dict[str, Any]:
    """Fills the folder; what is whole in it stays."""
    from fgcli import archives, artifacts, frames

    table, photos = folder / "people.csv", source
    if not archives.is_folder(source):
        photos = folder / "frames" / source.stem
        if not table.exists():
            frames.extracted(source, photos)
    name_people(photos, table)
    data = {"name": "image_folder", "path": str(photos), "attributes": str(table), "label": photos.name}
    raw = config.overlay(raw, {"preprocess": {"datasets": [data], "val": 0.0, "test": 0.0}})
    faces, sheet = folder / "faces.h5", folder / "faces.png"
    if not faces.exists():
        preprocess.run(faces, sheet, params=config.section(raw, "preprocess", preprocess.Params))
    rejected = len(artifacts.load(faces, artifacts.FACES, ("rejected/source",))["rejected/source"])
    params = config.section(raw, "flame", flame.Params)
    told = flame.run(faces, regressor, folder / "flame.h5", folder / "flame.png", params=params)
    return {"faces": str(faces), "rejected": rejected, **told}


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

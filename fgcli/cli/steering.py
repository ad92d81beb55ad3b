"""Commands of a generator that heads steer: steer, animate."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from fgcli.cli.pictures import (
    Cluster,
    Debug,
    FaceOption,
    Flame,
    Generator,
    Json,
    Latents,
    OneFace,
    Output,
    Processes,
    Regressor,
    command,
    finite,
    report,
)
from fgcli.cli.reprojection import PhotoOrRow

Conditions = Annotated[Path, typer.Option(help="The heads of the training faces.")]
Numbers = list[str]


def number(name: str, text: str) -> Any:
    """An option that may be repeated."""
    return typer.Option(f"--{name}", metavar="MODE=FROM:TO:COUNT", help=text)


def steer_command(
    what: PhotoOrRow,
    yaw: Annotated[str | None, typer.Option(metavar="FROM:TO:COUNT", help="Turn, radians, to image right.")] = None,
    jaw: Annotated[str | None, typer.Option(metavar="FROM:TO:COUNT", help="Opening of the mouth, radians.")] = None,
    expression: Annotated[Numbers, number("expression", "An expression mode, deviations; repeatable.")] = [],  # noqa: B006
    shape: Annotated[Numbers, number("shape", "A mode of identity, deviations; repeatable.")] = [],  # noqa: B006
    texture: Annotated[Numbers, number("texture", "A mode of the skin, deviations; repeatable.")] = [],  # noqa: B006
    light: Annotated[Numbers, number("light", "A harmonic of the light, 0 to 8, of all colours; repeatable.")] = [],  # noqa: B006
    expression_from: Annotated[str | None, typer.Option(metavar="PHOTO|ROW", help="Whose expression it has.")] = None,
    jaw_from: Annotated[str | None, typer.Option(metavar="PHOTO|ROW", help="Whose jaw.")] = None,
    pose_from: Annotated[str | None, typer.Option(metavar="PHOTO|ROW", help="Whose head pose.")] = None,
    neutral: Annotated[bool, typer.Option("--neutral", help="Without expression and pose, before all else.")] = False,
    output: Output = Path("steer.png"),
    face: FaceOption = "only",
    generator: Generator = Path("out/generator.h5"),
    latents: Latents = Path("out/latents.h5"),
    conditions: Conditions = Path("out/conditions.h5"),
    flame: Flame = Path("out/flame.h5"),
    regressor: Regressor = Path("out/regressor.h5"),
    processes: Processes = 0,
    cluster: Cluster = "",
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Set the numbers of a face's head: a strip for each range, of a generator that heads steer, such as gif.

    Where -o names a folder, photos may be a folder of them or a CSV of jobs: a picture for each, and jobs.csv with a
    line for each, as fg edit. Columns of jobs are these options (yaw, shape, jaw_from, ...), several with ; between.

    A single value is set in all pictures, a range makes a strip. Values are absolute: --yaw 0 looks ahead. Below each
    picture stand what was asked, what is found in it by the regressor or a fit, and the distance of dlib's embedding to
    the face (one person below 0.6); --json also tells how far what is found follows what was asked.

    Example: fg steer photo.jpg --yaw -0.4:0.4:7 --jaw 0:0.3:5 --expression 0=-2:2:5 -o steered.png
    """
    from fgcli import jobs
    from fgcli.stages import steer as stage
    from fgcli.steered import Files

    numbers = {"yaw": yaw or "", "jaw": jaw or ""}
    modes = {"expression": expression, "shape": shape, "texture": texture, "light": light}
    taken = {"expression_from": expression_from or "", "jaw_from": jaw_from or "", "pose_from": pose_from or ""}
    options: dict[str, Any] = {**numbers, **modes, **taken, "neutral": neutral, "face": face}
    files = Files(generator, latents, conditions, flame, regressor)
    if jobs.wanted([what], output):
        build = partial(stage.SteerJobs, files)
        many = partial(jobs.run, [what], output, options, build, files.paths(), processes, cluster, "steer")
        report(debug, json, many, [])
        return
    reads: list[Path | str] = [what, *filter(None, taken.values()), generator, latents, conditions]
    report(debug, json, lambda: stage.steer(what, stage.wished(options), output, face, files), reads, output)


def animate_command(
    what: PhotoOrRow,
    sequence: Annotated[
        Path | None,
        typer.Option(help="Parameters in the names of DECA, FLAME or VHAP, a row per frame: .npz, .npy or .csv."),
    ] = None,
    driver: Annotated[
        Path | None,
        typer.Option(metavar="VIDEO|FOLDER", help="Video, or folder of frames, of a face that is followed."),
    ] = None,
    rate: Annotated[
        float, typer.Option(min=0, max=1000, callback=finite, help="Frames a second; 0: the driver's own, or 25.")
    ] = 0.0,
    smooth: Annotated[bool, typer.Option("--smooth", help="Take the jitter out of the movement.")] = False,
    window: Annotated[
        float, typer.Option(min=0.1, callback=finite, help="Deviation of the Gaussian window of --smooth, frames.")
    ] = 1.0,
    output: Annotated[Path, typer.Option("--output", "-o", help="Video to write: .mp4 or .gif.")] = Path("animate.mp4"),
    face: OneFace = "largest",
    generator: Generator = Path("out/generator.h5"),
    latents: Latents = Path("out/latents.h5"),
    conditions: Conditions = Path("out/conditions.h5"),
    flame: Flame = Path("out/flame.h5"),
    regressor: Regressor = Path("out/regressor.h5"),
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Let a face move as a sequence of parameters says, or as the face in a video does.

    Expression, jaw and head pose are followed, identity, skin, light and style stay. Frames of a driver without a face
    follow their neighbours. Videos need the extra `video`.

    Example: fg animate photo.jpg --driver clip.mp4 --smooth -o moving.mp4
    """
    from fgcli.stages import animate as stage
    from fgcli.steered import Files

    files = Files(generator, latents, conditions, flame, regressor)
    work = partial(stage.animate, what, sequence, driver, rate, smooth, window, output, face, files)
    report(debug, json, work, [])


steer, animate = command(steer_command), command(animate_command)

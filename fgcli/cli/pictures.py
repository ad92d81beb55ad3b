"""Commands that make pictures: edit, sample, reconstruct, interpolate."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from fgcli.cli.run import guarded, quiet_libraries, show
from fgcli.cli.stage import Cluster
from fgcli.config.fields import SEEDS, strengths
from fgcli.config.fields import face as face_of
from fgcli.errors import FgError, UsageError

Generator = Annotated[Path, typer.Option(help="Generator to use.")]
Output = Annotated[Path, typer.Option("--output", "-o", help="Picture to write: its ending says the format.")]
Latents = Annotated[
    Path, typer.Option(help="Codes of faces: for rows, and for how photos are inverted; or samples.h5.")
]
Flame = Annotated[Path, typer.Option(help="Fitted heads: where heads steer, those of photos are fitted likewise.")]
Regressor = Annotated[Path, typer.Option(help="What finds heads in pictures, if it is there; else landmarks do.")]
Inputs = Annotated[
    list[str],
    typer.Argument(
        metavar="PHOTO|FOLDER|ROW...",
        help="Photo files, folders of photos, or row numbers of the file of --latents; sentences as they are written.",
    ),
]


def one_face(text: str) -> str:
    """Which face; UsageError of typer where it is all of them, or none."""
    if which_face(text) == "all":
        raise typer.BadParameter("expected one face of a photo, found all; choose largest, centre or a number")
    return text


def which_face(text: str) -> str:
    """Which face or faces, in the words of typer."""
    try:
        return face_of(text)
    except UsageError as error:
        raise typer.BadParameter(str(error)) from error


WHICH = "only (several are an error, which numbers them), largest, centre, or a number from left to right"
FaceOption = Annotated[
    str, typer.Option(metavar="N|all|WORD", help=f"Which face of a photo: {WHICH}; or all.", callback=which_face)
]
OneFace = Annotated[str, typer.Option(metavar="N|WORD", help=f"Which face of a photo: {WHICH}.", callback=one_face)]
Processes = Annotated[
    int, typer.Option(min=0, max=1024, help="Of -o FOLDER: processes side by side, models in each; 0: one per core.")
]


def finite(value: float) -> float:
    """The number; typer tells that it is none, or has no bound."""
    if not math.isfinite(value):
        raise typer.BadParameter(f"expected a finite number, found {value}")
    return value


Json = Annotated[bool, typer.Option("--json", help="Results as one JSON line.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]


def command(function: Callable[..., None]) -> Any:
    """A Typer app of one command."""
    app = typer.Typer(pretty_exceptions_enable=False, add_completion=False)
    app.command(context_settings={"token_normalize_func": lambda t: t.replace("_", "-")})(function)
    return app


def report(
    debug: bool, as_json: bool, work: Callable[[], dict[str, Any]], reads: Iterable[Path | str], *outputs: Path
) -> None:
    """Runs and prints, as every command does, once the outputs are known to be none of the files that are read."""
    quiet_libraries()

    def checked() -> None:
        from fgcli.artifacts.outputs import verify_outputs

        flags = {f"-o ({path.suffix})" if i else "-o": path for i, path in enumerate(outputs)}
        verify_outputs([Path(path) for path in reads], flags, dict.fromkeys(flags, ""))
        results = work()
        show(results, as_json)
        if failed := results.get("failed"):
            raise FgError(
                f"{results['table']}: expected a picture of each of {results['photos']} photos, found {failed} without "
                "one; the lines say why, and the same command tries them again"
            )
        if left := results.get("left_out"):
            raise FgError(
                f"PHOTO|FOLDER: expected a usable face in every photo, found none in {len(left)} ({', '.join(left)}); "
                "the others are done"
            )

    guarded(checked, debug)


def edit_command(
    what: Inputs,
    attribute: Annotated[
        list[str],
        typer.Option(
            "--attribute",
            "-a",
            metavar="NAME[=STRENGTH]",
            help="What to change, by a strength of its own or by --strength; repeatable: each follows the one before.",
        ),
    ] = [],  # noqa: B006
    strength: Annotated[
        str | None,
        typer.Option(
            help="One strength, or FROM:TO:COUNT, or auto: the largest that changes nothing else. 1 carries a face "
            "without the attribute to one with it. Of an edited face the opposite strength is the way back by "
            "mean_difference, but not by latent_wasserstein.  [default: -3:3:7; of -o FOLDER 1]",
            show_default=False,
        ),
    ] = None,
    method: Annotated[
        str, typer.Option(help="Label of an editor in editor.h5; by default the last that knows the attribute.")
    ] = "",
    recipe: Annotated[Path | None, typer.Option(help="YAML file of edits, before those of -a.")] = None,
    save_recipe: Annotated[Path | None, typer.Option(help="YAML file to write all edits to.")] = None,
    output: Output = Path("edit.png"),
    page: Annotated[Path | None, typer.Option(help=".html file to write: before and after, with a slider.")] = None,
    paste_back: Annotated[bool, typer.Option(help="Also write the whole photo with each change.")] = True,
    face: FaceOption = "only",
    inverter: Annotated[
        str, typer.Option(help="What finds codes of photos: encoder, hybrid, optimize; by default that of latents.h5.")
    ] = "",
    generator: Generator = Path("out/generator.h5"),
    editor: Annotated[Path, typer.Option(help="Editor to use.")] = Path("out/editor.h5"),
    latents: Latents = Path("out/latents.h5"),
    judges: Annotated[Path, typer.Option(help="What judges the edits, if it is there.")] = Path("out/judges.h5"),
    density: Annotated[Path, typer.Option(help="What codes are likely, if it is there.")] = Path("out/density.h5"),
    flame: Flame = Path("out/flame.h5"),
    regressor: Regressor = Path("out/regressor.h5"),
    processes: Processes = 0,
    cluster: Cluster = "",
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Change attributes of photos, or of rows of latents.h5: a strip with one row each, and what every edit did.

    Where -o names a folder: a picture for each photo and jobs.csv with a line for each, its certificate in it. There a
    CSV may stand for photos, with a column photo and, as wanted, attribute (several with ; between), strength, method,
    face, inverter, paste_back. What was stopped goes on.

    Below each picture stand the change of the probability of what was asked for, the distance of identity (one person
    below 0.6 by dlib, 0.72 by ArcFace), and what was not asked for and changed. --json has all of it.

    Example: fg edit photo.jpg -a smiling -a eyeglasses=-1 --strength -3:3:7 -o strip.png
    """
    from fgcli import jobs
    from fgcli.stages import pictures
    from fgcli.subjects import HeadFiles

    there = (path if path.exists() else None for path in (judges, density))
    files = pictures.Files(generator, editor, latents, HeadFiles(flame, regressor), *there)
    more = [path for path in (page, save_recipe) if path]

    def many() -> dict[str, Any]:
        for path in more:
            raise UsageError(f"-o {output}: expected a picture beside {path}, found a folder; name a .png")
        given: dict[str, Any] = {"attribute": attribute, "strength": strength or "1", "method": method, "face": face}
        given |= {"inverter": inverter, "paste_back": paste_back}
        build = partial(pictures.EditJobs, files, recipe)
        reads = [*files.paths(), *([recipe] if recipe else [])]
        return jobs.run(what, output, given, build, reads, processes, cluster, "edit")

    def work() -> dict[str, Any]:
        steps = pictures.asked(recipe, attribute, method)
        found = None if strength == "auto" else strengths(strength or "-3:3:7")
        how: dict[str, Any] = {"page": page, "recipe": save_recipe, "face": face, "inverter": inverter}
        return pictures.edit(what, steps, found, output=output, paste_back=paste_back, **how, files=files)

    if jobs.wanted(what, output):
        report(debug, json, many, [])
        return
    report(debug, json, work, [*what, generator, editor, latents, *([recipe] if recipe else [])], output, *more)


def sample_command(
    count: Annotated[int, typer.Option("--count", "-n", min=1, help="How many faces.")] = 64,
    density: Annotated[
        str,
        typer.Option(
            help="Label of a density in density.h5, or 'prior'; where heads steer also 'random': heads of "
            "which shape, expression, skin, turn and jaw are drawn, light and style of training faces."
        ),
    ] = "",
    seed: Annotated[int, typer.Option(min=0, max=SEEDS - 1, help="Seed of the first face; the next has the next.")] = 0,
    truncation: Annotated[
        float, typer.Option(min=0, callback=finite, help="Below 1 draws from the prior come nearer its mean.")
    ] = 1.0,
    columns: Annotated[int, typer.Option(min=1, help="Faces per row of the sheet.")] = 8,
    output: Output = Path("samples.png"),
    generator: Generator = Path("out/generator.h5"),
    densities: Annotated[Path, typer.Option(help="Densities to draw from.")] = Path("out/density.h5"),
    latents: Annotated[Path, typer.Option(help="Where conditions come from, if the generator wants some.")] = Path(
        "out/latents.h5"
    ),
    conditions: Annotated[Path, typer.Option(help="The heads of the training faces, for 'random'.")] = Path(
        "out/conditions.h5"
    ),
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Draw new faces from the prior or from a fitted density (the last one by default).

    Writes a sheet, a picture of each face, named by the seed that draws it alone, and their codes, whose rows edit,
    reconstruct and interpolate take.

    Example: fg sample -n 64 --density gmm --seed 3 -o samples.png
    """
    from fgcli.stages import sample as stage

    files = {"output": output, "generator": generator, "densities": densities, "latents": latents}
    files["conditions"] = conditions
    work = partial(stage.sample, count, density, seed, truncation, columns, **files)
    report(debug, json, work, [generator, densities, latents, conditions], output)


def reconstruct_command(
    what: Inputs,
    output: Output = Path("reconstruction.png"),
    face: FaceOption = "only",
    generator: Generator = Path("out/generator.h5"),
    latents: Latents = Path("out/latents.h5"),
    flame: Flame = Path("out/flame.h5"),
    regressor: Regressor = Path("out/regressor.h5"),
    judges: Annotated[Path, typer.Option(help="Of -o FOLDER: what judges, if it is there.")] = Path("out/judges.h5"),
    density: Annotated[Path, typer.Option(help="Of -o FOLDER: what is likely, if it is there.")] = Path(
        "out/density.h5"
    ),
    processes: Processes = 0,
    cluster: Cluster = "",
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Photos (or rows) beside what the generator makes of their codes, and the predicted masks.

    Where -o names a folder: a picture for each photo, and jobs.csv with a line for each, as fg edit.

    Example: fg reconstruct photo.jpg -o reconstruction.png
    """
    from fgcli import jobs
    from fgcli.stages import pictures
    from fgcli.subjects import HeadFiles

    heads = HeadFiles(flame, regressor)
    if jobs.wanted(what, output):
        there = (path if path.exists() else None for path in (judges, density))
        files = pictures.Files(generator, None, latents, heads, *there)
        build = partial(pictures.ReconstructJobs, files)
        many = partial(jobs.run, what, output, {"face": face}, build, files.paths(), processes, cluster, "reconstruct")
        report(debug, json, many, [])
        return
    work = partial(pictures.reconstruct, what, output, face, generator, latents, heads)
    report(debug, json, work, [*what, generator, latents, flame, regressor], output)


def interpolate_command(
    what: Inputs,
    frames: Annotated[int, typer.Option(min=2, help="Pictures from one face to the next, both included.")] = 8,
    path: Annotated[str, typer.Option(help="linear or slerp; by default slerp in z, linear in w.")] = "",
    output: Output = Path("interpolation.png"),
    face: FaceOption = "only",
    generator: Generator = Path("out/generator.h5"),
    latents: Latents = Path("out/latents.h5"),
    flame: Flame = Path("out/flame.h5"),
    regressor: Regressor = Path("out/regressor.h5"),
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Walk from each face to the next, one row per pair.

    Example: fg interpolate anna.jpg ben.jpg --frames 9 -o walk.png
    """
    from fgcli.stages import pictures
    from fgcli.subjects import HeadFiles

    heads = HeadFiles(flame, regressor)
    work = partial(pictures.interpolate, what, frames, path, output, face, generator, latents, heads)
    report(debug, json, work, [*what, generator, latents, flame, regressor], output)


edit, sample = command(edit_command), command(sample_command)
reconstruct, interpolate = command(reconstruct_command), command(interpolate_command)

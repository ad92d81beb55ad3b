"""fg init: a project of the user's own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from fgcli.cli.pictures import command
from fgcli.cli.run import guarded, show
from fgcli.errors import UsageError

GENERATOR, SIZE = "masked_vae", 64


def init_command(
    folder: Annotated[Path, typer.Argument(help="Where it will be: a new folder, or an empty one.")],
    photos: Annotated[Path | None, typer.Option(help="Folder or glob of your photos.")] = None,
    labels: Annotated[Path | None, typer.Option(help="CSV of attributes: see image_folder in fg data list.")] = None,
    size: Annotated[int | None, typer.Option(help=f"Side of the faces, px.  [default: {SIZE}]")] = None,
    generator: Annotated[str | None, typer.Option(help=f"What is trained.  [default: {GENERATOR}]")] = None,
    alone: Annotated[bool, typer.Option("--alone", help="No other faces beside yours, however few these are.")] = False,
    paper: Annotated[str | None, typer.Option(help="A paper's pipeline instead, as in fg's pipelines.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Results as one JSON line.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """A project: params.yaml and dvc.yaml for your own photos, where `dvc repro` does the rest.

    How long is trained follows from the number of photos and the size, by a rule that is printed.

    Example: fg init faces --photos my/photos --labels my/labels.csv && cd faces && dvc repro
    """
    given = {"--photos": photos, "--labels": labels, "--size": size, "--generator": generator}
    given["--alone"] = alone or None
    guarded(lambda: show(made(folder, paper, given), json), debug)


def made(folder: Path, paper: str | None, given: dict[str, Any]) -> dict[str, Any]:
    """Writes the project; returns what to tell.

    Raises:
        UsageError: a folder with files in it, neither photos nor a paper, or both.
    """
    from fgcli import project
    from fgcli.project import own, pipelines

    project.verify_new(folder)
    about: dict[str, Any] = {}
    if paper is not None:
        if surplus := [name for name, value in given.items() if value is not None]:
            raise UsageError(
                f"--paper {paper}: expected the paper's own faces and params, found {surplus[0]}; drop one"
            )
        files = pipelines.of_paper(paper)
    elif given["--photos"] is None:
        raise UsageError("--photos: expected a folder of photos, or --paper NAME, found neither; name one")
    else:
        size = SIZE if given["--size"] is None else given["--size"]
        more = given["--generator"] or GENERATOR, bool(given["--alone"])
        files, about = own.files(folder, given["--photos"], given["--labels"], size, *more)
    project.write(folder, files)
    return {"folder": str(folder), **about, "next": f"cd {folder} && dvc repro"}


init = command(init_command)

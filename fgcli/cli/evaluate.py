"""fg evaluate: the stage; with --images and --against any two sets of pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from fgcli.cli.pictures import Debug, Json
from fgcli.cli.pictures import command as plain
from fgcli.cli.run import guarded, quiet_libraries, show
from fgcli.cli.stage import command

OWN = ("--images", "--against")
"""Flags that ask for the comparison of two sets."""


def compare_command(
    images: Annotated[
        str, typer.Option(help="Pictures: a folder, faces.h5, samples.h5 or latents.h5; FILE:test for one split.")
    ],
    against: Annotated[str, typer.Option(help="The pictures that they are held against: as --images.")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help=".json or .h5 to write.")] = None,
    size: Annotated[int | None, typer.Option(min=8, max=2048, help="Side to resize all pictures to, px.")] = None,
    generator: Annotated[Path, typer.Option(help="What decodes samples.h5 and latents.h5.")] = Path("out/generator.h5"),
    classifier: Annotated[Path | None, typer.Option(help="classifier.h5, to compare in its features, too.")] = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Two sets of pictures by every metric of sets that can be made here, each with its protocol; distances with 95 %
    intervals.

    Example: fg evaluate --images out/samples.h5 --against out/faces.h5:test -o compared.json
    """
    quiet_libraries()

    def tell() -> None:
        from fgcli.stages import compare

        told = compare.compare(images, against, output, generator=generator, classifier=classifier, size=size)
        if json:
            show(told, json)
        else:
            print("\n".join(compare.table(told)))

    guarded(tell, debug)


class Either:
    """The stage, or the comparison of two sets where one of its flags is given."""

    name: str | None = None

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """Parses with the command that is meant."""
        if any(word.partition("=")[0] in OWN for word in args):
            chosen = typer.main.get_command(plain(compare_command))
        else:
            chosen = command("evaluate")
            chosen.epilog = "Any two folders or files of pictures: fg evaluate --images A --against B (and --help)."
        chosen.name = info_name
        return chosen.make_context(info_name, args, parent, **extra)


evaluate = Either()

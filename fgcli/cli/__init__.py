"""fg: the command line. It parses, calls a stage and prints; each command's code is imported only when it runs."""

from __future__ import annotations

import importlib
from typing import Annotated, Any, ClassVar

import typer
from typer.core import TyperCommand, TyperGroup

import fgcli

COMMANDS = {
    "preprocess": ("fgcli.cli.stage:preprocess", "Photos to faces.h5: find, align and mask faces."),
    "regressor": ("fgcli.cli.stage:regressor", "Rendered heads to regressor.h5: train a network that sees heads."),
    "flame": ("fgcli.cli.flame:app", "faces.h5 to flame.h5: a head in 3-D for every face; render and export them."),
    "classifier": ("fgcli.cli.stage:classifier", "faces.h5 to classifier.h5: train features on the labels; resumes."),
    "train": ("fgcli.cli.stage:train", "faces.h5 to generator.h5: train a generator; resumes."),
    "invert": ("fgcli.cli.stage:invert", "faces.h5 to latents.h5: the code of every face."),
    "density": ("fgcli.cli.stage:density", "latents.h5 to density.h5: fit ex-post densities to the codes."),
    "editor": ("fgcli.cli.stage:editor", "latents.h5 to editor.h5: learn attribute edits."),
    "classify": ("fgcli.cli.stage:classify", "faces.h5 to classes.h5: classify pictures, reject unlikely ones."),
    "attack": ("fgcli.cli.stage:attack", "faces.h5 to attacks.h5: try to deceive a generator that classifies."),
    "evaluate": ("fgcli.cli.stage:evaluate", "All of them to metrics.json, every number with its protocol."),
    "report": ("fgcli.cli.stage:report", "All of them to one self-contained report.html."),
    "paper": ("fgcli.cli.paper:app", "Runs and a paper's table to one page: ours beside theirs, claims judged."),
    "chain": ("fgcli.cli.chain:chain", "Several stages in one process and one folder, once per seed."),
    "edit": ("fgcli.cli.pictures:edit", "Change an attribute of a photo, or of rows of latents.h5."),
    "sample": ("fgcli.cli.pictures:sample", "Draw new faces from the prior or a fitted density."),
    "reconstruct": ("fgcli.cli.pictures:reconstruct", "Photos and what the generator makes of them."),
    "interpolate": ("fgcli.cli.pictures:interpolate", "Walk from one face to another."),
    "data": ("fgcli.cli.data:data", "Which data sets fg reads, and those that it makes."),
    "assets": ("fgcli.cli.assets:app", "External weights: list, import, check."),
    "inspect": ("fgcli.cli.inspect:inspect", "What an artifact holds and where it comes from."),
    "doctor": ("fgcli.cli.doctor:doctor", "Versions, hardware, disk, missing extras, and the fix of each."),
}


class Lazy(TyperCommand):
    """A command that is known by name and help, and imported when it is called."""

    def __init__(self, name: str, target: str, help: str) -> None:
        super().__init__(name, help=help)
        self.target = target

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """Parses with the real command."""
        module, _, attribute = self.target.partition(":")
        command = getattr(importlib.import_module(module), attribute)
        if isinstance(command, typer.Typer):
            command = typer.main.get_command(command)
        command.name = info_name
        return command.make_context(info_name, args, parent, **extra)


class Group(TyperGroup):
    """The commands of a table, in its order."""

    table: ClassVar = COMMANDS

    def list_commands(self, ctx: Any) -> list[str]:
        """Names."""
        return list(self.table)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """A stand-in that imports nothing yet."""
        return Lazy(cmd_name, *self.table[cmd_name]) if cmd_name in self.table else None


app = typer.Typer(cls=Group, no_args_is_help=True, pretty_exceptions_enable=False)


def _version(wanted: bool) -> None:
    if wanted:
        print(fgcli.__version__)
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it.")] = False,
) -> None:
    """Face photos to a generator that can be inverted, sampled, edited and measured."""


def main() -> None:
    """Entry point of `fg`."""
    app()

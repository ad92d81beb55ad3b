"""fg: the command line. It parses, calls a stage and prints; each command's code is imported only when it runs."""

from __future__ import annotations

import importlib
import signal
import sys
from typing import Annotated, Any, ClassVar

import typer
from typer.core import TyperCommand, TyperGroup

import fgcli
from fgcli.cli.discovery import stages
from fgcli.cli.run import guarded
from fgcli.console import guard_stdout
from fgcli.errors import Interrupted

OWN = {
    "init": ("fgcli.cli.init:init", "A project of your own: its params.yaml and dvc.yaml, for your photos or a paper."),
    "flame": ("fgcli.cli.flame:app", "faces.h5 -> flame.h5: a head in 3-D for every face; render and export them."),
    "evaluate": (
        "fgcli.cli.evaluate:evaluate",
        "All artifacts -> metrics.json: every number with its protocol; or two folders compared.",
    ),
    "paper": ("fgcli.cli.paper:app", "Runs and a paper's table -> paper.html: ours beside theirs, claims judged."),
    "chain": ("fgcli.cli.chain:chain", "Several stages in one process and one folder, once per seed."),
    "edit": ("fgcli.cli.pictures:edit", "Change an attribute of photos, or of rows of latents.h5."),
    "sample": ("fgcli.cli.pictures:sample", "Draw new faces from the prior or a fitted density."),
    "reconstruct": ("fgcli.cli.pictures:reconstruct", "Photos and what the generator makes of them."),
    "interpolate": ("fgcli.cli.pictures:interpolate", "Walk from one face to another."),
    "mix": ("fgcli.cli.reprojection:mix", "Some code layers of one face, the others of another."),
    "inpaint": ("fgcli.cli.reprojection:inpaint", "Fill a hole in the face of a photo."),
    "merge": ("fgcli.cli.reprojection:merge", "Put two faces together, and make one face of them."),
    "retouch": ("fgcli.cli.reprojection:retouch", "Turn paint strokes on a face into what a face can have."),
    "deblur": ("fgcli.cli.reprojection:deblur", "Sharpen faces by extrapolation of their codes."),
    "keyframes": ("fgcli.cli.reprojection:keyframes", "More frames for a video of a face."),
    "steer": ("fgcli.cli.steering:steer", "Turn a face, open its mouth, change it by its head's numbers."),
    "animate": ("fgcli.cli.steering:animate", "Let a face move as a sequence or a video does."),
    "studio": ("fgcli.cli.studio:studio", "A page of the browser to play with what was trained."),
    "export": ("fgcli.cli.export:export", "A generator as ONNX, TorchScript or safetensors; an editor as NPZ."),
    "data": ("fgcli.cli.data:data", "Which data sets fg reads, and those that it makes."),
    "assets": ("fgcli.cli.assets:app", "External weights: list, import, check."),
    "inspect": ("fgcli.cli.inspect:inspect", "What an artifact holds and where it comes from."),
    "doctor": ("fgcli.cli.doctor:doctor", "Versions, hardware, disk, missing extras, and the fix of each."),
}
"""Commands with code of their own, and their help."""
ELSEWHERE = ("heads",)
"""Stages that are no `fg STAGE`: this one is `fg data make procedural_heads`."""
COMMANDS = {
    name: (f"fgcli.cli.stage:{name}", stage.help) for name, stage in stages().items() if name not in ELSEWHERE
} | OWN
"""Every command: the stages as they follow each other, then the others; where a stage has code of its own, that."""


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
    guard_stdout()
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as a shell has it for work in the background
            signal.signal(number, _interrupt)
    try:
        guarded(_program, debug="--debug" in sys.argv)
    except typer.Exit as end:
        sys.exit(end.exit_code)


def _interrupt(number: int, frame: object) -> None:
    raise Interrupted(number)


def _program() -> None:
    try:
        app()
    finally:  # not at the interpreter's end, where an error has words and a code of its own
        print(end="", flush=True)

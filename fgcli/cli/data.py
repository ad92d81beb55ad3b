"""fg data: the data sets that fg reads, and those that it makes."""

from __future__ import annotations

import importlib
from typing import Annotated

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
    """Which data sets fg reads and the layout each expects; which it makes."""


@data.command("list")
def list_(
    json: Annotated[bool, typer.Option("--json", help="As one JSON line.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """One line per data set; --json for the whole text."""

    def describe() -> dict[str, str]:
        from fgcli.datasets import DATASETS

        texts = {name: importlib.import_module(target.partition(":")[0]).__doc__ for name, target in DATASETS.items()}
        return {k: (text or "") if json else (text or "").splitlines()[0] for k, text in texts.items()}

    guarded(lambda: show(describe(), json), debug)

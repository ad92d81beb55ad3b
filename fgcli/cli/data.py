"""fg data: the data sets that fg reads, and those that it makes."""

from __future__ import annotations

import importlib
import inspect
import textwrap
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

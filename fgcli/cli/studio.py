"""fg studio: a page of the browser to play with what was trained."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from fgcli.cli.pictures import Debug, command
from fgcli.cli.run import guarded, quiet_libraries
from fgcli.errors import UsageError


def studio_command(
    out: Annotated[Path, typer.Argument(help="Folder of a project's artifacts.")] = Path("out"),
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="By default 7860 or the next free one.")] = None,
    open_: Annotated[bool, typer.Option("--open", help="Show it in the browser at once.")] = False,
    debug: Debug = False,
) -> None:
    """A page at 127.0.0.1, for this machine alone: edit photos, steer heads, draw faces, mend labels, watch runs.

    Nothing is sent anywhere. What it writes lies in OUT/studio. Ctrl-C ends it.

    Example: fg studio --open
    """
    quiet_libraries()

    def work() -> None:
        if find_spec("gradio") is None:
            raise UsageError('fg studio: expected the package gradio, found none; pip install "fgcli[studio]"')
        from fgcli.studio.page import serve

        serve(out, port, open_, debug)

    guarded(work, debug)


studio = command(studio_command)

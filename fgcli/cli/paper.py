"""fg paper: our numbers beside a paper's."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fgcli.cli.run import guarded, quiet_libraries, show

app = typer.Typer(pretty_exceptions_enable=False, add_completion=False)


@app.command()
def paper(
    paper: Annotated[Path, typer.Option(help="The paper's table and claims, as pipelines/*/paper.yaml.")],
    folder: Annotated[Path, typer.Option(help="Runs: FOLDER/ROW/seed0/metrics.json and so on.")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Page; FOLDER/paper.html.")] = None,
    results: Annotated[Path | None, typer.Option(help="Numbers and verdicts; FOLDER/paper.json.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Results as one JSON line.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """One self-contained page: our table beside the printed one, and whether each claim holds at our size."""
    from fgcli.stages import paper as stage

    quiet_libraries()
    page, numbers = output or folder / "paper.html", results or folder / "paper.json"

    def work() -> None:
        from fgcli.artifacts.outputs import verify_outputs

        verify_outputs([paper], {"-o": page, "--results": numbers}, {"-o": "", "--results": ""})
        show(stage.run(paper, folder, page, numbers), json)

    guarded(work, debug)

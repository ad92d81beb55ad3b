"""fg assets: list, import, check."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from fgcli import assets
from fgcli.cli.run import guarded
from fgcli.errors import FgError

app = typer.Typer(
    help="External weights: what is here, what is missing, and under which terms.",
    no_args_is_help=True,
    add_completion=False,
)

Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]


@app.command("list")
def list_(json_: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """One line per asset: found or missing, licence, who needs it."""
    rows = [_row(asset) for asset in assets.ASSETS.values()]
    typer.echo(json.dumps(rows, indent=2) if json_ else "\n".join(map(_line, rows)))


@app.command("import")
def import_(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Downloaded files of weights.")],
    name: Annotated[str | None, typer.Option(help="The asset that FILE is; else its sha256 decides.")] = None,
    debug: Debug = False,
) -> None:
    """Check downloaded weights and copy them into the assets folder ($FG_ASSETS or ~/.cache/fg)."""
    guarded(lambda: _import(files, name), debug)


@app.command("check")
def check(debug: Debug = False) -> None:
    """Hash every asset that is here; exit code 1 when one is damaged."""
    guarded(_check, debug)


def _import(files: list[Path], name: str | None) -> None:
    for file in files:
        asset, path = assets.import_file(file, name)
        typer.echo(f"{asset.name}: {path}")


def _check() -> None:
    damaged = []
    for asset, path, problem in assets.check():
        state = "damaged" if problem else "sound"
        typer.echo(f"{state:<8} {asset.name:<18} {path}" + (f": {problem}" if problem else ""))
        damaged += [asset.name] if problem else []
    if damaged:
        raise FgError(f"fg assets check: expected sound files, found {', '.join(damaged)} damaged; import them again")


def _row(asset: assets.Asset) -> dict[str, Any]:
    path = assets.find(asset.name)
    return {
        "name": asset.name,
        "found": str(path) if path else None,
        "megabytes": round(asset.bytes / 1e6, 1),
        "sha256": asset.sha256,
        "licence": asset.licence,
        "needed_by": list(asset.needed_by),
        "without": f"{asset.without} works",
        "url": asset.url or None,
        "package": asset.package or None,
    }


def _line(row: dict[str, Any]) -> str:
    state = "found" if row["found"] else "missing"
    who = ", ".join(row["needed_by"]) or "nothing yet"
    where = "" if row["found"] else f"; get {row['url'] or 'package ' + row['package']}"
    return f"{state:<8} {row['name']:<18} {row['megabytes']:>6} MB  needed by: {who}; licence: {row['licence']}{where}"

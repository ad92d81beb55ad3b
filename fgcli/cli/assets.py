"""fg assets: list, import, check."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from fgcli import assets
from fgcli.cli.run import guarded, show
from fgcli.errors import FgError, UsageError

WIDTH = max(map(len, assets.ASSETS))
"""Of the column of names."""

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
    name: Annotated[str | None, typer.Option(help="The asset that FILE is; else its content decides.")] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="PATH", help="generator.h5 to make of a StyleGAN2 FILE.")
    ] = None,
    debug: Debug = False,
) -> None:
    """Check downloaded files and keep them in the assets folder ($FG_ASSETS or ~/.cache/fg).

    With -o FILE is a StyleGAN2 checkpoint, stylegan2-ada-pytorch's .pkl or rosinality's .pt, or GIF's .model, that
    becomes generator.h5.
    """
    guarded(lambda: _import(files, name) if output is None else _convert(files, name, output), debug)


@app.command("check")
def check(debug: Debug = False) -> None:
    """Read every asset that is here; exit code 1 when one is damaged."""
    guarded(_check, debug)


def _import(files: list[Path], name: str | None) -> None:
    if name is not None and name not in assets.ASSETS:
        known = ", ".join(a.name for a in assets.ASSETS.values() if not a.package)
        raise UsageError(f"--name {name}: expected one of {known}, found another name; see fg assets list")
    for file in files:
        asset, path = _importer(file, name)(file, name)
        typer.echo(f"{asset.name}: {path}")


def _convert(files: list[Path], name: str | None, output: Path) -> None:
    from fgcli.artifacts.locks import held
    from fgcli.artifacts.outputs import verify_outputs

    if len(files) != 1 or name is not None:
        raise UsageError(
            "-o: expected one StyleGAN2 checkpoint and no --name, found more; import the others by themselves"
        )
    verify_outputs(files, {"-o": output}, {"-o": "generator"})
    with held([output]):
        from fgcli.generators import imported

        show(imported.convert(files[0], output), as_json=False)


def _importer(file: Path, name: str | None) -> Callable[[Path, str | None], tuple[assets.Asset, Path]]:
    """Files with a known sha256 are copied; those of a page are read and kept in a form of our own."""
    assets.verify_download(file)
    if name is not None:
        of_page = bool(assets.ASSETS[name].page)
    else:
        named = any(file.name == asset.file for asset in assets.ASSETS.values() if asset.url)
        of_page = not named and not assets.is_known(file)
    if not of_page:
        return assets.import_file
    from fgcli.foreign import flame_files

    return flame_files.import_file


def _check() -> None:
    damaged = []
    for asset, path, found in assets.check():
        problem = found or (_damage(asset, path) if asset.page else "")
        state = "damaged" if problem else "sound"
        typer.echo(f"{state:<8} {asset.name:<{WIDTH}} {path}" + (f": {problem}" if problem else ""))
        damaged += [asset.name] if problem else []
    if damaged:
        raise FgError(f"fg assets check: expected sound files, found {', '.join(damaged)} damaged; import them again")


def _damage(asset: assets.Asset, path: Path) -> str:
    from fgcli.foreign import head_parts

    return head_parts.damage(asset.name, path)


def _row(asset: assets.Asset) -> dict[str, Any]:
    path = assets.find(asset.name)
    return {
        "name": asset.name,
        "found": str(path) if path else None,
        "megabytes": round(asset.bytes / 1e6, 1) or None,
        "sha256": asset.sha256 or None,
        "licence": asset.licence,
        "needed_by": list(asset.needed_by),
        "without": f"{asset.without} works",
        "url": asset.url or None,
        "package": asset.package or None,
        "page": asset.page or None,
        "aliases": list(asset.aliases),
        "holds": asset.holds or None,
    }


def _line(row: dict[str, Any]) -> str:
    state = "found" if row["found"] else "missing"
    who = ", ".join(row["needed_by"]) or "nothing yet"
    size = f"{row['megabytes']:>6} MB" if row["megabytes"] else " " * 9
    about = f"needed by: {who}; licence: {row['licence']}"
    return f"{state:<8} {row['name']:<{WIDTH}} {size}  {about}" + ("" if row["found"] else f"; get {_where(row)}")


def _where(row: dict[str, Any]) -> str:
    if row["page"]:
        return f"{' or '.join(row['aliases'])} from {row['page']}; it must hold {row['holds']}"
    return row["url"] or f"package {row['package']}"

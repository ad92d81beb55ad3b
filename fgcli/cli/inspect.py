"""fg inspect: what an artifact holds and where it comes from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from fgcli.cli.run import guarded, show


def command(
    file: Annotated[Path, typer.Argument(help="Artifact to look into.")],
    json: Annotated[bool, typer.Option("--json", help="As one JSON line.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """What an artifact holds and where it comes from: datasets, schema, params, inputs."""
    guarded(lambda: show(describe(file), json), debug)


def describe(file: Path) -> dict[str, Any]:
    """The head of an artifact, and shape, type and meaning of its datasets."""
    from fgcli import artifacts

    stored = artifacts.load(file, names=())
    schema = artifacts.SCHEMAS.get(stored.schema.split("/")[0])
    datasets = {}
    for name, (shape, dtype) in artifacts.layout(file).items():
        field = schema.fields.get(name) if schema else None
        size = "x".join(map(str, shape)) or "scalar"
        datasets[name] = f"{size} {dtype}" + (f" ({field.axes}) {field.meaning}" if field else "")
    return {
        "file": str(file),
        "schema": stored.schema,
        "fg": stored.fg_version,
        "sha256": artifacts.sha256(file),
        "inputs": stored.inputs,
        "datasets": datasets,
        "meta": stored.meta,
        "params": stored.params,
    }


inspect = typer.Typer(pretty_exceptions_enable=False, add_completion=False)
inspect.command()(command)

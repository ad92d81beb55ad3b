"""generator.h5, editor.h5 -> files of other tools, which are run and compared before they get their names."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fgcli.errors import FgError, UsageError

if TYPE_CHECKING:
    from fgcli.exports import Format

TOLERANCE = 1e-4
"""Largest difference between a generator and what was exported of it."""


def export(source: Path, name: str, output: Path | None, faces: Path) -> dict[str, Any]:
    """Exports generator.h5 in a format, or editor.h5 as NPZ; by default beside it and of the same name.

    Raises:
        UsageError: a format that is not there, or that cannot keep this generator.
        FgError: another file, a missing package, or what was exported does something else.
    """
    from fgcli import artifacts

    kind = artifacts.load(source, names=()).schema.split("/")[0]
    if kind == "editor":
        if name not in ("", "npz"):
            raise UsageError(f"--format {name}: expected npz for {source}, an editor, found another; leave it out")
        return export_editor(source, output or source.with_suffix(".npz"))
    if kind != "generator":
        raise FgError(f"{source}: expected generator.h5 or editor.h5, found a {kind} file; give one of these")
    return export_generator(source, name or "onnx", output or source.with_suffix(""), faces)


def export_generator(source: Path, name: str, output: Path, faces: Path) -> dict[str, Any]:
    """Writes the parts of a generator; see `export`."""
    from fgcli import artifacts, config
    from fgcli.capabilities import require
    from fgcli.exports import FORMATS, notes
    from fgcli.exports.parts import difference, parts_of
    from fgcli.generators import store

    written: Format = config.lookup(FORMATS, name, "--format")()
    verify_packages(name, written.packages)
    model, stored = store.load(source), artifacts.load(source, artifacts.GENERATOR, ())
    require(model, refused=written.refused, by=f"--format {name}")
    parts, terms = parts_of(model), notes.licences(stored, faces)
    files = written.files(output, parts)
    verify([source, faces], files)
    with ExitStack() as stack:
        aside = {key: stack.enter_context(artifacts.write_aside(path)) for key, path in files.items()}
        written.write(model, parts, notes.notes(stored, model, terms), aside)
        calls = written.read(aside, stored.meta["build"])
        gaps = {key: difference(part, replace(part, call=calls[key])) for key, part in parts.items()}
        verify_same(source, gaps)
    return told(files.values(), gaps) | {"space": model.space, "licences": terms}


def export_editor(source: Path, output: Path) -> dict[str, Any]:
    """Writes the steps and maps of an editor; see `export`."""
    import torch

    from fgcli import artifacts, editors
    from fgcli.codes import Codes
    from fgcli.exports import directions
    from fgcli.exports.parts import TRIED

    if output.suffix != ".npz":
        raise UsageError(f"-o {output}: expected a name that ends in .npz, found {output.name!r}; rename it")
    verify([source], {"directions": output})
    known = editors.load(source)
    arrays = directions.arrays_of(known)
    if not arrays:
        raise FgError(f"{source}: expected an editor that learned something, found none; run fg editor with attributes")
    shape = next(iter(arrays.values())).shape[:2]
    tried = Codes(torch.randn(TRIED, *shape, generator=torch.Generator().manual_seed(0)), known.space)
    with artifacts.write_aside(output) as part:
        directions.save(part, known, arrays)
        gaps = directions.difference(part, known, tried)
        verify_same(source, gaps)
    return told([output], gaps) | {"space": known.space, "directions": list(arrays)}


def verify_packages(name: str, packages: tuple[str, ...]) -> None:
    """Raises FgError where a package lacks."""
    for package in packages:
        if importlib.util.find_spec(package) is None:
            raise FgError(f'--format {name}: expected the package {package}, found none; pip install "fgcli[export]"')


def verify(reads: list[Path], files: dict[str, Path]) -> None:
    """Raises where a file would be written over that fg did not write."""
    from fgcli.artifacts.outputs import verify_outputs

    flags = {f"-o ({key})": path for key, path in files.items()}
    verify_outputs(reads, flags, dict.fromkeys(flags, ""))


def verify_same(source: Path, gaps: dict[str, float]) -> None:
    """Raises FgError where a difference is above the tolerance."""
    worst = max(gaps, key=lambda key: gaps[key])
    if gaps[worst] > TOLERANCE:
        raise FgError(
            f"{source} {worst}: expected the exported one to differ by {TOLERANCE:g} at most, found {gaps[worst]:.3g}; "
            "nothing was written: choose another format"
        )


def told(files: Iterable[Path], gaps: dict[str, float]) -> dict[str, Any]:
    """The results of both."""
    largest = {"largest_difference": max(gaps.values()), "tolerance": TOLERANCE}
    return {"output": list(map(str, files)), **largest, "differences": gaps}

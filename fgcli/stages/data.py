"""faces.h5, flame.h5 -> folders of pictures and tables, which people and other tools read; and faces.h5 from them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from fgcli.errors import FgError, UsageError

if TYPE_CHECKING:
    from fgcli.artifacts import Artifact

UNFINISHED = ".unfinished"
"""In a folder that is being written: the hash of what it is written of."""


def export(source: Path, folder: Path) -> dict[str, Any]:
    """Writes a new folder of faces.h5 or flame.h5; a killed run goes on with the same command.

    Raises:
        UsageError: a folder with files of another export, or of the user's.
        FgError: another file, no room, or a folder that cannot be written.
    """
    from fgcli import artifacts
    from fgcli.artifacts.locks import held
    from fgcli.console import progress
    from fgcli.exports import face_folder

    stored = artifacts.load(source, names=())
    kind = stored.schema.split("/")[0]
    if kind not in ("faces", "flame"):
        raise FgError(f"{source}: expected faces.h5 or flame.h5, found a {kind} file; give one of these")
    verify_folder(folder, hash := artifacts.sha256(source))
    artifacts.verify_free_space(folder / UNFINISHED, source.stat().st_size)
    with held([folder]):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / UNFINISHED).write_text(hash)
        if kind == "faces":
            with progress("export", len(artifacts.rows(source, "split"))) as advance:
                counts = face_folder.write(source, folder, advance)
        else:
            counts = parameters(artifacts.load(source, artifacts.FLAME), folder)
        (folder / UNFINISHED).unlink()
    return {"folder": str(folder), **counts}


def gather(folder: Path, output: Path) -> dict[str, Any]:
    """Writes faces.h5 of a folder that `export` wrote, changed or not.

    Raises:
        FgError: another folder, or parts that do not belong together.
    """
    from fgcli.artifacts.locks import held
    from fgcli.artifacts.outputs import verify_outputs
    from fgcli.console import progress
    from fgcli.exports import face_folder

    if (folder / UNFINISHED).exists():
        raise FgError(f"{folder}: expected a whole export, found an unfinished one; run fg data export again")
    verify_outputs([], {"-o": output}, {"-o": "faces"})
    with held([output]), progress("import", len(list((folder / face_folder.IMAGES).glob("*")))) as advance:
        return {"output": str(output), **face_folder.read(folder, output, advance)}


def verify_folder(folder: Path, hash: str) -> None:
    """Raises UsageError unless a folder is empty, not there, or was left unfinished by what has this hash."""
    if folder.is_dir():
        mark = folder / UNFINISHED
        if not any(folder.iterdir()) or (mark.is_file() and mark.read_text() == hash):
            return
        found = "what another command left unfinished" if mark.is_file() else "one with files in it"
    elif not folder.exists() and not folder.is_symlink():
        return
    else:
        found = "a file"
    raise UsageError(f"{folder}: expected an empty folder or none, found {found}; name another")


def parameters(stored: Artifact, folder: Path) -> dict[str, Any]:
    """parameters.npz, the arrays of flame.h5 as they are; parameters.csv, a line per head; head.json, of which head."""
    from fgcli import artifacts
    from fgcli.artifacts.parts import save_part
    from fgcli.exports.tables import save_table

    save_part(folder / "parameters.npz", stored.arrays)
    n = len(stored["status"])
    texts = ("status", "split")
    numbers = {name: values.reshape(n, -1) for name, values in stored.arrays.items() if name not in texts}
    header = [column for name, values in numbers.items() for column in _columns(name, values.shape[1])]
    splits = [artifacts.SPLITS[split] for split in stored["split"]]
    values = (column for array in numbers.values() for column in array.T)
    save_table(
        folder / "parameters.csv",
        ["row", "split", "status", *header],
        zip(range(n), splits, stored["status"], *values, strict=True),
    )
    artifacts.write_json(folder / "head.json", stored.meta)
    return {"heads": n, "ok": int((stored["status"] == "ok").sum())}


def _columns(name: str, count: int) -> list[str]:
    return [name] if count == 1 else [f"{name}{i}" for i in range(count)]

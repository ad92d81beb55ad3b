"""A project of the user's own: a folder with params.yaml, dvc.yaml and what else `dvc repro` needs, outside fg's clone.

It is written whole or not at all, and only where nothing was.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from fgcli.errors import FgError, UsageError, reason

DVC = {
    ".dvc/config": "[core]\n    analytics = false\n    check_update = false\n    no_scm = true\n",
    ".dvc/.gitignore": "/config.local\n/tmp\n/cache\n",
    ".gitignore": "/out/\n.venv/\n__pycache__/\n",
}
"""Files of every project: one of dvc's, that needs no git."""


def verify_new(folder: Path) -> None:
    """Raises UsageError unless a folder is empty or not there."""
    if folder.is_dir() and not any(folder.iterdir()):
        return
    if folder.exists() or folder.is_symlink():
        found = "one with files in it" if folder.is_dir() else "a file"
        raise UsageError(f"{folder}: expected an empty folder or none, found {found}; name another")


def write(folder: Path, files: Mapping[str, str]) -> None:
    """Writes the texts of `files`, by their paths, and `DVC` into a new folder.

    Raises:
        FgError: the folder cannot be written, or has files.
    """
    home = folder.resolve()
    there = home.is_dir()  # and maybe where the user stands: it is filled, not replaced
    try:
        home.parent.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(prefix=f".{home.name}.", suffix=".part", dir=home if there else home.parent))
        try:
            for name, text in {**files, **DVC}.items():
                (aside / name).parent.mkdir(parents=True, exist_ok=True)
                (aside / name).write_text(text, encoding="utf-8")
            aside.chmod(0o755)  # mkdtemp's are closed to others
            if there:
                for item in list(aside.iterdir()):
                    item.rename(home / item.name)
            else:
                aside.rename(home)  # which refuses one with files that came meanwhile
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    except OSError as error:
        raise FgError(f"{folder}: expected a new folder to write, found {reason(error)}; name another") from error

"""One writer at a time: a command holds its outputs while it runs, and a second one is told who does."""

from __future__ import annotations

import fcntl
import glob
import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from fgcli.errors import FgError


@contextmanager
def held(outputs: Iterable[Path]) -> Iterator[None]:
    """Inside the block no other command writes these files or folders; what a killed writer left aside is removed.

    Of the processes of one distributed run only the first holds them.

    Raises:
        FgError: another process holds one, or its folder cannot be written.
    """
    with ExitStack() as stack:
        for path in outputs if os.environ.get("RANK", "0") == "0" else ():
            stack.enter_context(_held(path))
            for left in path.parent.glob(f".{glob.escape(path.name)}.*.part"):
                left.unlink(missing_ok=True)
        yield


@contextmanager
def _held(path: Path) -> Iterator[None]:
    lock = path.with_name(f".{path.name}.lock")
    made = [folder for folder in lock.parents if not folder.exists()]
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        handle = _acquired(lock)
    except BlockingIOError as error:
        owner = lock.read_text().strip() if lock.exists() else "unknown"
        raise FgError(
            f"{path}: expected to be its only writer, found process {owner} writing it; wait for that one or name "
            "another output"
        ) from error
    except OSError as error:
        raise FgError(
            f"{path}: expected a folder that can be written, found one that cannot; choose another output"
        ) from error
    try:
        yield
    finally:
        lock.unlink(missing_ok=True)
        os.close(handle)  # which ends the lock, as the death of the process does
        for folder in made:
            if folder.exists() and not any(folder.iterdir()):  # nothing came of the command
                folder.rmdir()


def _acquired(lock: Path) -> int:
    """A handle that holds the lock file of this name; the name may be unlinked by a last owner meanwhile."""
    while True:
        handle = os.open(lock, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            raise
        if lock.exists() and os.fstat(handle).st_ino == lock.stat().st_ino:
            os.ftruncate(handle, 0)
            os.write(handle, f"{os.getpid()}\n".encode())
            return handle
        os.close(handle)

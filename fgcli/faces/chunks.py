"""Cutting many photos: in chunks, over processes, each chunk a file of its own, so that a killed run goes on."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import wait as wait_for
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from fgcli.artifacts import write_aside
from fgcli.errors import FgError
from fgcli.faces.cutter import Cutter, Settings, Source
from fgcli.faces.photos import BadPhotoError

ROWS = 32
"""Photos in a chunk: about a few seconds of work, which is what a kill can lose per process."""


@dataclass(frozen=True)
class Chunk:
    """Photos first, first + 1, … of the run, and the file that takes what becomes of them."""

    first: int
    sources: tuple[Source, ...]
    file: Path


T = TypeVar("T")
Job = Callable[[Cutter, Chunk], T]


def chunks(sources: Sequence[Source], folder: Path) -> list[Chunk]:
    """All sources, ROWS at a time."""
    return [
        Chunk(first, tuple(sources[first : first + ROWS]), folder / f"{first:09d}.npz")
        for first in range(0, len(sources), ROWS)
    ]


def scan(cutter: Cutter, chunk: Chunk) -> list[tuple[int, str]]:
    """(number, reason) of every photo in the chunk whose file is bad."""
    bad = []
    for i, source in enumerate(chunk.sources, chunk.first):
        try:
            cutter.read(source)
        except BadPhotoError as error:
            bad.append((i, str(error)))
    return bad


def cut(cutter: Cutter, chunk: Chunk) -> int:
    """Writes the chunk's file: rows, and the rejected with their reasons. Returns how many photos it covers."""
    size = cutter.settings.size
    rows, taken, rejected, reasons = [], [], [], []
    for i, source in enumerate(chunk.sources, chunk.first):
        try:
            rows.append(cutter.cut(source))
            taken.append(i)
        except BadPhotoError as error:
            rejected.append(i)
            reasons.append(str(error))
    arrays = {
        "taken": np.array(taken, np.int64),
        "images": np.array([r.image for r in rows], np.uint8).reshape(-1, size, size, 3),
        "masks": np.array([r.mask for r in rows], np.uint8).reshape(-1, size, size),
        "landmarks": np.array([r.landmarks for r in rows], np.float32).reshape(-1, 68, 2),
        "crop": np.array([r.matrix for r in rows], np.float32).reshape(-1, 2, 3),
        "rejected": np.array(rejected, np.int64),
        "reasons": np.array(reasons, np.str_),
    }
    with write_aside(chunk.file) as part, open(part, "wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]
    return len(chunk.sources)


def load(chunk: Chunk) -> dict[str, np.ndarray]:
    """The arrays of a chunk's file."""
    with np.load(chunk.file, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def each(job: Job[T], todo: Sequence[Chunk], settings: Settings, cutter: Cutter, processes: int) -> Iterator[T]:
    """What `job` returns for every chunk, in the order of completion.

    Args:
        job: `scan` or `cut`.
        todo: the chunks.
        settings: from which each process builds its own cutter.
        cutter: that of this process, used when there is one process.
        processes: how many.

    Raises:
        FgError: a process died.
    """
    if processes == 1 or len(todo) < 2:
        yield from (job(cutter, chunk) for chunk in todo)
        return
    with _pool(settings, min(processes, len(todo))) as pool:
        waiting: set[Future[T]] = set()
        queue = iter(todo)
        try:
            for chunk in queue:
                waiting.add(pool.submit(_in_worker, job, chunk))
                if len(waiting) >= 2 * processes:  # a short queue keeps memory flat
                    done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                    yield from (future.result() for future in done)
            while waiting:
                done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                yield from (future.result() for future in done)
        except BrokenProcessPool as error:
            raise FgError(
                "preprocess: expected its processes to live, found one killed (out of memory?); "
                "set preprocess.processes=1"
            ) from error


_worker: dict[str, Cutter] = {}
"""The cutter of this worker process."""


@contextmanager
def _pool(settings: Settings, processes: int) -> Iterator[ProcessPoolExecutor]:
    spawn = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(processes, spawn, _start_worker, (settings,))
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _start_worker(settings: Settings) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    threading.Thread(target=_die_with_parent, daemon=True).start()
    _worker["cutter"] = Cutter(settings)


def _die_with_parent() -> None:
    """Ends this process when its parent is gone, even killed by -9: no worker is left waiting for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait_for([parent.sentinel])
        os._exit(1)


def _in_worker(job: Job[T], chunk: Chunk) -> T:
    return job(_worker["cutter"], chunk)


def cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def unfinished(todo: Sequence[Chunk]) -> list[Chunk]:
    """The chunks whose file is not there yet."""
    return [chunk for chunk in todo if not chunk.file.exists()]


def describe(source: Source) -> list[Any]:
    """What tells whether a photo is still the same: names, box, sizes and times of change of its files."""
    return [[str(p), *_stamp(p)] for p in (source.path, *source.masks)] + [list(source.box or ())]


def _stamp(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except OSError:
        return (0, 0)
    return (status.st_size, status.st_mtime_ns)

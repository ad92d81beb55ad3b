"""Cutting many photos: in chunks, each a file of its own, so that a killed run goes on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fgcli import archives
from fgcli.faces.cutter import Cutter, Source
from fgcli.faces.photos import BadPhotoError

ROWS = 32
"""Photos in a chunk: about a few seconds of work, which is what a kill can lose per process."""


@dataclass(frozen=True)
class Chunk:
    """Photos first, first + 1, … of the run, and the file that takes what becomes of them."""

    first: int
    sources: tuple[Source, ...]
    file: Path


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


def cut(cutter: Cutter, chunk: Chunk) -> dict[str, np.ndarray]:
    """Arrays of the chunk's file: rows, their notes, and the rejected with reasons."""
    size = cutter.settings.size
    rows, taken, rejected, reasons = [], [], [], []
    for i, source in enumerate(chunk.sources, chunk.first):
        try:
            rows.append(cutter.cut(source))
            taken.append(i)
        except BadPhotoError as error:
            rejected.append(i)
            reasons.append(str(error))
    return {
        "taken": np.array(taken, np.int64),
        "images": np.array([r.image for r in rows], np.uint8).reshape(-1, size, size, 3),
        "masks": np.array([r.mask for r in rows], np.uint8).reshape(-1, size, size),
        "landmarks": np.array([r.landmarks for r in rows], np.float32).reshape(-1, 68, 2),
        "crop": np.array([r.matrix for r in rows], np.float32).reshape(-1, 2, 3),
        "embeddings": np.array([r.embedding for r in rows], np.float32).reshape(len(rows), -1 if rows else 0),
        "rejected": np.array(rejected, np.int64),
        "reasons": np.array(reasons, np.str_),
        "notes": np.array([note for r in rows for note in r.notes], np.str_),
    }


def describe(source: Source) -> list[Any]:
    """What tells whether a photo is still the same: names, box, sizes and times of change of its files."""
    return [[str(p), *_stamp(p)] for p in (source.path, *source.masks)] + [list(source.box or ())]


def _stamp(path: Path) -> tuple[int, int]:
    try:
        return archives.stamp(path)
    except OSError:
        return (0, 0)

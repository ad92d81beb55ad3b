"""Rows that are too many for memory while they are worked with."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from fgcli.errors import FgError


class Chosen:
    """Rows of mapped ones (n, d), read when a part of them is asked for.

    Args:
        values: (n, d). places: of the rows among them.
    """

    def __init__(self, values: np.ndarray, places: np.ndarray) -> None:
        self.values, self.places = values, places
        self.shape = len(places), values.shape[1]

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, part: slice | np.ndarray) -> np.ndarray:
        found: np.ndarray = self.values[self.places[part]]
        return found

    def __array__(self, dtype: np.dtype | None = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self[:], dtype)


class MappedRows:
    """Rows (n, width) that are appended to a nameless file in `folder`, which is made, and mapped from it.

    Raises:
        FgError: no room for them.
    """

    def __init__(self, width: int, dtype: np.dtype | type, folder: Path) -> None:
        self.count, self.width, self.dtype, self.folder = 0, width, np.dtype(dtype), folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self.file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - it goes with this object
        except OSError as error:
            raise self._full(error) from error

    def append(self, rows: np.ndarray) -> None:
        """Adds rows (m, width)."""
        try:
            self.file.write(np.ascontiguousarray(rows, self.dtype).data)
            self.file.flush()
        except OSError as error:
            raise self._full(error) from error
        self.count += len(rows)

    def mapped(self) -> np.ndarray:
        """All rows, read only."""
        shape = self.count, self.width
        empty = not self.count * self.width  # which cannot be mapped
        return np.zeros(shape, self.dtype) if empty else np.asarray(np.memmap(self.file, self.dtype, "r", shape=shape))

    def _full(self, error: OSError) -> FgError:
        return FgError(
            f"{self.folder}: expected room for the features of images, found: {error.strerror}; make room, or choose "
            "another output"
        )

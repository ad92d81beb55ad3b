"""What a generator learns from: the pictures of faces.h5, or the sentences of sentences.h5 as if they were pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from fgcli.artifacts.files import load, rows
from fgcli.artifacts.schemas import FACES, SENTENCES


class Planes:
    """Rules (n, t) as uint8 pictures (n, 1, t, k), made when they are asked for: 255 where a rule is taken, else 0.

    The last of k channels stands for what follows the end.

    >>> Planes(np.array([[0, 1, -1]]), 3)[0].tolist()
    [[[255, 0, 0], [0, 255, 0], [0, 0, 255]]]
    """

    dtype = np.dtype(np.uint8)

    def __init__(self, rules: np.ndarray, choices: int) -> None:
        self.rules, self.shape = rules, (len(rules), 1, rules.shape[1], choices)

    def __len__(self) -> int:
        return len(self.rules)

    def __getitem__(self, which: Any) -> np.ndarray:
        """The pictures of some rows, or of one."""
        chosen = np.asarray(self.rules[which])[..., None] % self.shape[-1] == np.arange(self.shape[-1])
        return np.expand_dims(chosen * np.uint8(255), -3)


def are_sentences(path: Path) -> bool:
    """Whether a file is sentences.h5.

    Raises:
        FgError: it is no artifact.
    """
    return load(path, names=()).schema == SENTENCES.tag


def pictures(path: Path) -> Any:
    """The rows of faces.h5, uint8 (n, h, w, c), or those of sentences.h5 as `Planes`.

    Raises:
        FgError: another file.
    """
    if not are_sentences(path):
        return rows(path, "images")
    return Planes(rows(path, "rules"), len(load(path, SENTENCES, ()).meta["rules"]) + 1)


def masks(faces: Path) -> np.ndarray:
    """Masks (n, h, w) uint8 of the rows of faces.h5, read-only; 255 all over what is taken whole, and sentences.

    Raises:
        FgError: another file.
    """
    if not are_sentences(faces) and load(faces, FACES, ()).meta["content"] == "faces":
        return rows(faces, "masks")
    return np.broadcast_to(np.uint8(255), pictures(faces).shape[:3])

"""Faces in a photo that may lie on its side or stand upside down."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from fgcli.errors import FgError
from fgcli.faces.landmarks import Face, upright


def analyse_turned(analyse: Callable[[np.ndarray], list[Face]], photo: np.ndarray) -> list[Face]:
    """The faces in a photo uint8 (h, w, 3), px of it as it is given.

    Where it surely shows no upright face it is searched again by quarter turns, up to the first that does.

    Raises:
        FgError: the photo shows faces, but they stand upright, if at all, in a turn in which none is sure.
    """
    seen = []
    for quarters in range(4):
        seen.append(analyse(np.rot90(photo, quarters)))
        if any(face.sure and upright(face.landmarks) for face in seen[-1]):
            return [_turned_back(face, quarters, photo.shape) for face in seen[-1]]
    turned = [face for faces in seen[1:] for face in faces if not face.flaw]
    if seen[0] and _best(turned) >= _best(seen[0]):
        raise FgError("the face is upside down or lies on its side, and no turn of the photo surely shows it upright")
    return seen[0]


def _best(faces: Sequence[Face]) -> float:
    """Score of the surest face whose landmarks stand upright."""
    return max((face.score for face in faces if upright(face.landmarks)), default=-np.inf)


def _turned_back(face: Face, quarters: int, shape: tuple[int, ...]) -> Face:
    """A face of the photo turned by `quarters`, counter-clockwise, in px of the photo of `shape` (h, w, ...)."""
    points = np.vstack([face.landmarks, np.reshape(face.box, (2, 2))])
    for turn in reversed(range(quarters)):
        last = shape[(turn + 1) % 2] - 1  # column of the photo turned by `turn`
        points = np.stack([last - points[:, 1], points[:, 0]], 1)
    (left, top), (right, bottom) = points[-2:].min(0).tolist(), points[-2:].max(0).tolist()
    return replace(face, landmarks=points[:-2].astype(np.float32), box=(left, top, right, bottom))

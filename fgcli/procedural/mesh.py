"""Vertices and triangles in the making."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from fgcli.procedural.loft import Grid

SKIN, RIM, MOUTH, LEFT_EYE, RIGHT_EYE, LEFT_EAR, RIGHT_EAR = range(7)


@dataclass
class Mesh:
    """Vertices in cm, with what the rest of the recipe needs to know about each.

    Attributes:
        position, anchor: (v, 3); a shape mode moves a vertex as it moves its anchor (the eyeball's centre, the lip's
            edge for the bag), so that parts stay whole.
        part: (v,) which of the seven parts.
        angle, level, side: (v,) on the skin's surface; elsewhere those of the nearest place on it.
        mirror: (v,) the id of the vertex on the other side.
        faces, uv, uv_faces: the triangles, counter-clockwise from outside, and their texture coordinates.
        grid: the skin's grid.
        lids: for the left and the right eye, ids (2, n) of the upper and the lower edge, inner to outer corner.
        rims: the same for their rims, which end inside the eyeball.
        lips: ids (2, n) of the upper and the lower lip's edge, the subject's right to left.
        bag: ids (rows, n) of the mouth bag.
        balls: ids of the left and the right eyeball, the pupil first and the pole behind last.
        ears: ids of the left and the right ear.
        uv_more: texture coordinates that no vertex has of its own; uv_faces counts them -1, -2, ...
    """

    position: np.ndarray
    anchor: np.ndarray
    part: np.ndarray
    angle: np.ndarray
    level: np.ndarray
    side: np.ndarray
    mirror: np.ndarray
    uv: np.ndarray
    grid: Grid
    faces: np.ndarray = field(default_factory=lambda: np.zeros((0, 3), np.int64))
    uv_faces: np.ndarray = field(default_factory=lambda: np.zeros((0, 3), np.int64))
    lids: list[np.ndarray] = field(default_factory=list)
    rims: list[np.ndarray] = field(default_factory=list)
    lips: np.ndarray = field(default_factory=lambda: np.zeros((2, 0), np.int64))
    bag: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), np.int64))
    balls: list[np.ndarray] = field(default_factory=list)
    ears: list[np.ndarray] = field(default_factory=list)
    uv_more: np.ndarray = field(default_factory=lambda: np.zeros((0, 2)))

    def add(self, position: np.ndarray, anchor: np.ndarray, part: int, like: np.ndarray, uv: np.ndarray) -> np.ndarray:
        """New vertices (n, 3); angle, level and side are those of the vertices `like`. Returns their ids."""
        ids = len(self.position) + np.arange(len(position))
        self.position = np.concatenate([self.position, position])
        self.anchor = np.concatenate([self.anchor, anchor])
        self.part = np.concatenate([self.part, np.full(len(position), part)])
        for name in ("angle", "level", "side"):
            setattr(self, name, np.concatenate([getattr(self, name), getattr(self, name)[like]]))
        self.mirror = np.concatenate([self.mirror, ids])
        self.uv = np.concatenate([self.uv, uv])
        return ids

    def join(
        self,
        top: np.ndarray,
        bottom: np.ndarray,
        uv_top: np.ndarray | None = None,
        uv_bottom: np.ndarray | None = None,
        flip: np.ndarray | None = None,
    ) -> None:
        """Triangles between two rows of ids (n,), `top` above, counting rightwards as seen; flat ones are left out.

        flip: (n - 1,) which quads are cut from the top right; the others are from the top left.
        """
        flip = np.zeros(len(top) - 1, bool) if flip is None else flip
        faces = _triangles(top, bottom, flip)
        uv_faces = _triangles(top if uv_top is None else uv_top, bottom if uv_bottom is None else uv_bottom, flip)
        a, b, c = self.position[faces].transpose(1, 0, 2)
        full = (np.cross(b - a, c - a) ** 2).sum(1) > 1e-16
        self.faces = np.concatenate([self.faces, faces[full]])
        self.uv_faces = np.concatenate([self.uv_faces, uv_faces[full]])

    def more_uv(self, uv: np.ndarray) -> np.ndarray:
        """Ids for `uv_faces` of further texture coordinates (n, 2)."""
        ids = -1 - len(self.uv_more) - np.arange(len(uv))
        self.uv_more = np.concatenate([self.uv_more, uv])
        return ids

    def pair(self, left: np.ndarray, right: np.ndarray) -> None:
        """Notes that `left` and `right` are each other's mirror images."""
        self.mirror[left], self.mirror[right] = right, left


def _triangles(top: np.ndarray, bottom: np.ndarray, flip: np.ndarray) -> np.ndarray:
    tl, tr, bl, br = top[:-1], top[1:], bottom[:-1], bottom[1:]
    straight = np.stack([np.stack([tl, bl, br], 1), np.stack([tl, br, tr], 1)], 1)
    flipped = np.stack([np.stack([tr, tl, bl], 1), np.stack([tr, bl, br], 1)], 1)
    return np.where(flip[:, None, None], flipped, straight).reshape(-1, 3)

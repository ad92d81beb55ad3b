"""The skin as a surface over (angle, level), and the grid that samples it, slit at the eyes and the mouth."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from scipy.interpolate import PchipInterpolator

from fgcli.procedural import tables as cm
from fgcli.procedural.curves import bell, curve, smoothstep, soft_maximum

_LOFT = PchipInterpolator(cm.LOFT[:, 0], cm.LOFT[:, 1:])
_NOSE_HEIGHT, _NOSE_WIDTH, _LIPS = curve(cm.NOSE_HEIGHT), curve(cm.NOSE_WIDTH), curve(cm.LIPS)


@dataclass(frozen=True)
class Grid:
    """Where the skin's vertices are on the surface, and how they join.

    Attributes:
        angle, level, side: (n,); side is +1 for what lies above a slit, -1 below, 0 on a corner.
        above, below: (rows, columns) vertex ids as the quads above and below a row see it; they differ on slits. The
            last column is the first again. Row 0 is the first below the crown.
        crown: the vertex id of the pole.
        eye_row, mouth_row: the slit rows.
        columns: angles (columns,) from -180 to 180.
    """

    angle: np.ndarray
    level: np.ndarray
    side: np.ndarray
    above: np.ndarray
    below: np.ndarray
    crown: int
    eye_row: int
    mouth_row: int
    columns: np.ndarray

    def between(self, low: float, high: float) -> np.ndarray:
        """The columns from `low` to `high` degrees, both included."""
        return np.flatnonzero((self.columns > low - 1e-9) & (self.columns < high + 1e-9))


def knots(table: list[tuple[float, int]], detail: float) -> np.ndarray:
    """All stations of a (station, quads since the one before) table, with the numbers of quads times `detail`."""
    parts = [np.array([table[0][0]])]
    for (start, _), (stop, count) in pairwise(table):
        parts.append(np.linspace(start, stop, max(1, round(count * detail)) + 1)[1:])
    return np.concatenate(parts)


def grid(detail: float) -> Grid:
    """The grid of about 4000 detail² vertices."""
    half, levels = knots(cm.COLUMNS, detail), knots(cm.ROWS, detail)[1:]
    columns = np.concatenate([-half[:0:-1], half])
    above = 1 + np.arange(len(levels) * (len(columns) - 1)).reshape(len(levels), -1)
    angle, level = np.tile(columns[:-1], len(levels)), np.repeat(levels, len(columns) - 1)
    above = np.hstack([above, above[:, :1]])
    angle, level = np.concatenate([[0.0], angle]), np.concatenate([[cm.CROWN], level])
    eye_row, mouth_row = (int(np.argmin(abs(levels - at))) for at in (cm.EYE_LEVEL, cm.MOUTH_LEVEL))
    side = np.where(level < (cm.EYE_LEVEL + cm.MOUTH_LEVEL) / 2, cm.EYE_LEVEL - level, cm.MOUTH_LEVEL - level)
    side = np.sign(np.round(side, 9))
    result = Grid(angle, level, side, above, above, 0, eye_row, mouth_row, columns)
    slits = [(eye_row, -cm.OUTER_CANTHUS, -cm.INNER_CANTHUS), (eye_row, cm.INNER_CANTHUS, cm.OUTER_CANTHUS)]
    slits.append((mouth_row, -cm.MOUTH_CORNER, cm.MOUTH_CORNER))
    for row, low, high in slits:
        result = _slit(result, row, result.between(low, high)[1:-1])
    return result


def _slit(old: Grid, row: int, columns: np.ndarray) -> Grid:
    upper = old.above[row, columns]
    below = old.below.copy()
    below[row, columns] = len(old.angle) + np.arange(len(columns))
    side = np.concatenate([old.side, np.full(len(columns), -1.0)])
    side[upper] = 1.0
    angle, level = (np.concatenate([x, x[upper]]) for x in (old.angle, old.level))
    return replace(old, angle=angle, level=level, side=side, below=below)


def opened(angle: np.ndarray, level: np.ndarray, side: np.ndarray) -> np.ndarray:
    """The level after the eyes' slits have been pushed open into almonds; rows beyond give way."""
    middle, half = (cm.OUTER_CANTHUS + cm.INNER_CANTHUS) / 2, (cm.OUTER_CANTHUS - cm.INNER_CANTHUS) / 2
    s = (abs(angle) - middle) / half
    away = abs(level - cm.EYE_LEVEL)
    reach = np.exp(-away / 1.1)
    up = cm.LID_UP * np.clip(1 - (s + 0.1 * (1 - s * s)) ** 2, 0, None) ** 0.6
    down = cm.LID_DOWN * np.clip(1 - (s - 0.12 * (1 - s * s)) ** 2, 0, None) ** 0.62
    tilt = cm.CANTHUS_TILT * np.clip(s, -1.6, 1.6) * np.exp(-((away / 1.5) ** 2)) * smoothstep(abs(s), 2.2, 1.2)
    return level - np.where(side > 0, up, -down) * reach * (abs(s) < 1) - tilt


def skull(angle: np.ndarray, level: np.ndarray) -> np.ndarray:
    """Points (n, 3) of the featureless head."""
    front_y, front_z, width, side_y, side_z, back_y, back_z, flat = _LOFT(level).T
    sin, cos = np.sin(np.radians(angle)), np.cos(np.radians(angle))
    front, size = cos >= 0, abs(cos)
    y = side_y + (np.where(front, front_y, back_y) - side_y) * size**2
    z = side_z + np.where(front, (front_z - side_z) * size**flat, (back_z - side_z) * size)
    return np.stack([width * sin, y, z], 1)


def skin(angle: np.ndarray, level: np.ndarray, side: np.ndarray) -> np.ndarray:
    """Points (n, 3) of the face: the skull, its features, and the lids draped over the eyeballs."""
    points = skull(angle, opened(angle, level, side))
    x, y = abs(points[:, 0]), points[:, 1]
    relief = _NOSE_HEIGHT(y - 0.1 * x**2) * np.exp(-((x / _NOSE_WIDTH(y)) ** 2.2))
    for spot in cm.BUMPS:
        relief = relief + spot[4] * bell(x, y, spot[:4], spot[5])
    mouth_y = skull(angle, np.full_like(level, cm.MOUTH_LEVEL))[:, 1]
    relief += _LIPS(y - mouth_y) * np.exp(-((x / 2.25) ** 4))
    points[:, 2] += relief * smoothstep(abs(angle), 85.0, 55.0)
    points[:, 2] = np.where(abs(angle) < 90, draped(points), points[:, 2])
    return points


def draped(points: np.ndarray) -> np.ndarray:
    """z (n,) of points pushed out to where the lids lie on the eyeballs."""
    offset = np.stack([abs(points[:, 0]), points[:, 1]], 1) - cm.EYE_CENTRE[:2]
    radius = cm.EYE_RADIUS + cm.LID
    depth = radius**2 - (offset**2).sum(1)
    ball = cm.EYE_CENTRE[2] + np.sign(depth) * np.sqrt(abs(depth))
    return np.where(depth > -1.5, soft_maximum(points[:, 2], ball, 0.07), points[:, 2])

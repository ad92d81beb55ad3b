"""The 68 landmarks in iBUG order, and the outline of the jaw at every degree of yaw.

iBUG's numbers run over the image: 0 to 16 the jaw from the subject's right ear over the chin (8), 17 to 26 brows, 27
to 35 nose, 36 to 47 eyes, 48 to 67 lips. Only the subject's left half (image right) stands in the tables; the rest is
its mirror image. Where the names leave a choice (the brow's edge, how the outline's points slide) it was settled by
hand, after comparing renders of this head with what dlib's predictor finds in them; no photo was used.
"""

from __future__ import annotations

import numpy as np

from fgcli.procedural import tables as cm
from fgcli.procedural.loft import skin
from fgcli.procedural.mesh import SKIN, Mesh

FRONTAL = {
    22: (1.1, 1.95), 23: (2.1, 2.5), 24: (3.2, 2.75), 25: (4.3, 2.55), 26: (5.25, 1.85),
    27: (0.0, 0.35), 28: (0.0, -0.9), 29: (0.0, -2.1), 30: (0.0, -3.3), 33: (0.0, -4.42), 34: (0.65, -4.32),
    35: (1.3, -4.15),
}  # fmt: skip
"""(x, y) in the frontal view, cm."""
LIDS = {42: (0, 0.0), 43: (0, 0.33), 44: (0, 0.67), 45: (0, 1.0), 46: (1, 0.67), 47: (1, 0.33)}
"""Upper (0) or lower (1) lid, and how far along it from the inner to the outer corner."""
OUTER_LIPS = {
    51: (0.0, 0.62),
    52: (0.55, 0.76),
    53: (1.55, 0.45),
    55: (1.6, -0.68),
    56: (0.65, -0.98),
    57: (0.0, -1.02),
}
"""x, and y above the mouth's line, cm."""
INNER_LIPS = {54: (0, 1.0), 62: (0, 0.0), 63: (0, 0.3), 64: (0, 0.85), 65: (1, 0.3), 66: (1, 0.0)}
"""Upper (0) or lower (1) lip's edge, and how far along it from the middle to the left corner."""
JAW = [0.1, -1.7, -3.45, -5.25, -6.95, -8.55, -9.85, -10.75]
"""y of the outline's points from the ear to the one beside the chin's, seen from the front, cm."""
NEAR_SLIDE = [-0.7, -0.8, -1.2, -1.35, -1.15, -0.8, -0.3, -0.05]
FAR_SLIDE = [-0.5, 0.0, 0.4, 1.0, 1.1, 1.05, 0.85, 0.35]
"""How they slide along it as the head turns, cm times sin 2 yaw: points share out the outline that is seen."""
MIRROR = np.array(
    [
        *(*range(16, -1, -1), *range(26, 16, -1), *range(27, 31), *range(35, 30, -1)),
        *(45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40),
        *(*range(54, 47, -1), *range(59, 54, -1), *range(64, 59, -1), 67, 66, 65),
    ]
)
"""The landmark on the other side."""

Place = tuple[np.ndarray, np.ndarray]
"""Vertex ids (3,) of a triangle and barycentric weights (3,)."""


def static(mesh: Mesh) -> tuple[np.ndarray, np.ndarray]:
    """Triangles (68,) and weights (68, 3)."""
    places = {i: _frontal(mesh, x, y) for i, (x, y) in FRONTAL.items()}
    places |= {i: _on_edge(mesh, mesh.lids[0][row], at) for i, (row, at) in LIDS.items()}
    edge = mesh.position[mesh.lips[0]]
    for i, (x, y) in OUTER_LIPS.items():
        places[i] = _frontal(mesh, x, y + float(np.interp(x, edge[:, 0], edge[:, 1])))
    half = mesh.lips.shape[1] // 2
    places |= {i: _on_edge(mesh, mesh.lips[row, half:], at) for i, (row, at) in INNER_LIPS.items()}
    outline = _Outline()
    places |= {16 - k: _cell(mesh, *outline.at(y)) for k, y in enumerate(JAW)}
    places[8] = _cell(mesh, 0.0, cm.MENTON_LEVEL)
    places |= {int(MIRROR[i]): _mirrored(mesh, place) for i, place in places.items() if MIRROR[i] != i}
    return _numbered(mesh, [places[i] for i in range(68)])


def contour(mesh: Mesh) -> tuple[np.ndarray, np.ndarray]:
    """Triangles (79, 17) and weights (79, 17, 3): rows 0 to 39 are degrees of yaw, rows 40 to 78 are -1 to -39.

    The side that turns away shows its silhouette, which wanders towards the front; the other side keeps its points.
    """
    outline = _Outline()
    chin = _cell(mesh, 0.0, cm.MENTON_LEVEL)
    rows = []
    for yaw in range(40):
        turn = np.sin(np.radians(2 * yaw))
        near = [outline.at(y + turn * slide) for y, slide in zip(JAW, NEAR_SLIDE, strict=True)]
        far = [outline.at(y + turn * slide, yaw) for y, slide in zip(JAW, FAR_SLIDE, strict=True)]
        rows.append(
            [_mirrored(mesh, _cell(mesh, *at)) for at in near] + [chin] + [_cell(mesh, *at) for at in far[::-1]]
        )
    rows += [[_mirrored(mesh, place) for place in row[::-1]] for row in rows[1:]]
    triangles, weights = _numbered(mesh, [place for row in rows for place in row])
    return triangles.reshape(79, 17), weights.reshape(79, 17, 3)


class _Outline:
    """The left half of the face's outline: where a height y is met along each meridian, up to where an ear hides it."""

    def __init__(self) -> None:
        self.angles, self.levels = np.arange(0.0, 72.01, 0.5), np.arange(-3.0, 11.21, 0.1)
        angle, level = np.meshgrid(self.angles, self.levels, indexing="ij")
        points = skin(angle.ravel(), level.ravel(), np.sign(cm.EYE_LEVEL - level.ravel()))
        self.points = points.reshape(*angle.shape, 3)

    def at(self, height: float, yaw: float = 0.0) -> tuple[float, float]:
        """Angle and level of the place at y = `height` that is outermost once the head is turned by `yaw` degrees."""
        clear_of_nose = (self.angles >= 30.0) | (height < -7.0)
        reaching = np.flatnonzero((self.points[:, -1, 1] <= height) & clear_of_nose)
        levels = np.array([np.interp(-height, -self.points[a, :, 1], self.levels) for a in reaching])
        x, z = np.array(
            [
                [np.interp(level, self.levels, self.points[a, :, k]) for k in (0, 2)]
                for a, level in zip(reaching, levels, strict=True)
            ]
        ).T
        best = int(np.argmax(x * np.cos(np.radians(yaw)) + z * np.sin(np.radians(yaw))))
        return float(self.angles[reaching[best]]), float(levels[best])


def _cell(mesh: Mesh, angle: float, level: float) -> Place:
    """The triangle of the skin's grid that holds (angle, level), away from the slits' openings."""
    g = mesh.grid
    levels = mesh.level[g.above[:, 0]]
    row = int(np.clip(np.searchsorted(levels, level) - 1, 0, len(levels) - 2))
    column = int(np.clip(np.searchsorted(g.columns, angle, "right") - 1, 0, len(g.columns) - 2))
    s = (angle - g.columns[column]) / (g.columns[column + 1] - g.columns[column])
    t = float(np.clip((level - levels[row]) / (levels[row + 1] - levels[row]), 0, 1))
    top, bottom = g.below[row, column : column + 2], g.above[row + 1, column : column + 2]
    if t >= s:  # the diagonal runs from the top left, as on all of the left half
        return np.array([top[0], bottom[0], bottom[1]]), np.array([1 - t, t - s, s])
    return np.array([top[0], bottom[1], top[1]]), np.array([1 - s, t, s - t])


def _frontal(mesh: Mesh, x: float, y: float) -> Place:
    """The foremost triangle of the skin at (x, y) of the frontal view."""
    faces = mesh.faces[(mesh.part[mesh.faces] == SKIN).all(1)]
    a, b, c = (mesh.position[faces[:, k], :2] for k in range(3))
    area = _cross(b - a, c - a)
    point = np.array([x, y])
    weights = np.stack([_cross(b - point, c - point), _cross(c - point, a - point), _cross(a - point, b - point)], 1)
    weights = weights / np.where(area == 0, 1, area)[:, None]
    depth = (weights * mesh.position[faces, 2]).sum(1)
    best = int(np.argmax(np.where((weights > -1e-9).all(1) & (area > 0), depth, -np.inf)))
    return faces[best], np.clip(weights[best], 0, 1)


def _cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]


def _on_edge(mesh: Mesh, edge: np.ndarray, at: float) -> Place:
    """The place a fraction `at` along the row of vertices `edge`, in a triangle of the skin on that row."""
    where = at * (len(edge) - 1)
    first = min(int(where), len(edge) - 2)
    pair = edge[first : first + 2]
    faces = mesh.faces[(mesh.part[mesh.faces] == SKIN).all(1)]
    face = faces[(np.isin(faces, pair)).sum(1) == 2][0]
    share = where - first
    return face, (face == pair[0]) * (1 - share) + (face == pair[1]) * share


def _mirrored(mesh: Mesh, place: Place) -> Place:
    return mesh.mirror[place[0]], place[1]


def _numbered(mesh: Mesh, places: list[Place]) -> tuple[np.ndarray, np.ndarray]:
    """Triangle numbers (n,), and the weights (n, 3) in the order of those triangles' corners."""
    number = {tuple(sorted(face)): k for k, face in enumerate(mesh.faces.tolist())}
    triangles = np.array([number[tuple(sorted(ids.tolist()))] for ids, _ in places])
    weights = np.zeros((len(places), 3))
    for k, (ids, share) in enumerate(places):
        for vertex, part in zip(ids, share, strict=True):
            weights[k, mesh.faces[triangles[k]] == vertex] = part
    return triangles, weights / weights.sum(1, keepdims=True)

"""The whole mesh: the slit skin, rims of the lids, mouth bag with teeth, eyeballs, ears; and its texture layout."""

from __future__ import annotations

import numpy as np

from fgcli.procedural import tables as cm
from fgcli.procedural.curves import curve
from fgcli.procedural.loft import Grid, grid, opened, skin
from fgcli.procedural.mesh import LEFT_EAR, LEFT_EYE, MOUTH, RIGHT_EAR, RIGHT_EYE, RIM, SKIN, Mesh

UV_ANGLE = curve([(0.0, 0.5), (40.0, 0.76), (90.0, 0.92), (180.0, 1.0)])
UV_LEVEL = curve([(cm.CROWN, 1.0), (-7.0, 0.87), (11.2, 0.3), (14.0, 0.25), (cm.NECK_BASE, 0.19)])
"""Texture coordinates of the skin; the strip v < .18 holds the other parts."""
UV_EYE, UV_EYE_RADIUS = np.array([0.735, 0.09]), 0.083
"""The left eyeball's disc, as seen from the pupil; its edge is 125 degrees away."""
UV_EAR, UV_EAR_RADIUS = np.array([0.91, 0.09]), 0.083
UV_MOUTH = (0.36, 0.64, 0.165, 0.015)
"""u of the mouth's corners; v of the bag's first and last row."""

BAG = np.array(
    [
        # across, up at the corners + in the middle, back; all relative to the edge of the lip (factor, cm, cm, cm)
        [0.97, 0.05, 0.30, -0.42],  # inside of the upper lip
        [0.92, 0.10, 0.95, -0.66],  # gum line
        [0.90, -0.02, -0.14, -0.66],  # edge of the upper teeth
        [0.84, 0.00, 0.10, -1.05],  # behind them
        [0.75, 0.10, 0.90, -2.60],  # palate
        [0.55, 0.00, 0.00, -4.80],  # throat
        [0.72, -0.15, -0.60, -2.60],  # tongue
        [0.80, -0.05, -0.45, -1.30],  # behind the lower teeth
        [0.86, -0.03, -0.22, -0.86],  # edge of the lower teeth
        [0.90, -0.10, -1.00, -0.80],  # gum line
        [0.97, -0.05, -0.35, -0.42],  # inside of the lower lip
    ]
)
BAG_JAW = np.array([0, 0, 0, 0, 0, 0.5, 1, 1, 1, 1, 1])
"""How far each row of the bag follows the jaw."""

EYE_RINGS = np.array([11.0, 23.0, 36.0, 50.0, 66.0, 85.0, 125.0])
"""Degrees from the pupil."""
FORWARD = np.array([0.0, 0.0, 1.0])

EAR_OUTLINE = curve(
    [
        *((0, 1.75), (45, 2.5), (75, 3.05), (100, 3.0), (130, 2.2), (180, 1.3), (225, 1.75), (262, 2.75)),
        *((290, 2.7), (320, 2.1), (360, 1.75)),
    ]
)
"""Radius by direction (0 backwards, 90 up), cm."""
EAR_RINGS = np.array(
    [
        # part of the outline's radius; height; radius in the texture
        [0.0, -0.40, 0.0],
        [0.3, -0.34, 0.2],
        [0.52, -0.04, 0.34],
        [0.72, -0.12, 0.48],
        [0.9, 0.16, 0.62],
        [1.0, 0.0, 0.74],
        [0.92, -0.28, 0.86],
        [0.55, -1.1, 1.0],
    ]
)
EAR_CENTRE, EAR_FLARE, EAR_TILT = np.array([7.12, -1.55, -0.75]), 30.0, 10.0


def build(detail: float) -> Mesh:
    """The neutral head of about 4800 detail² vertices."""
    mesh = _skin(grid(detail))
    for sign in (1, -1):
        _lids(mesh, sign)
    _mouth(mesh)
    _eyes(mesh, max(10, round(20 * detail)))
    _ears(mesh, max(10, round(18 * detail)))
    return mesh


def skin_uv(angle: np.ndarray, level: np.ndarray) -> np.ndarray:
    """Texture coordinates (n, 2) of places on the skin."""
    u = 0.5 + np.sign(angle) * (UV_ANGLE(abs(angle)) - 0.5)
    return np.stack([u, UV_LEVEL(level)], 1)


def _skin(g: Grid) -> Mesh:
    position = skin(g.angle, g.level, g.side)
    uv = skin_uv(g.angle, opened(g.angle, g.level, g.side))
    mirror = np.arange(len(position))
    for ids in (g.above, g.below):
        mirror[ids] = ids[:, ::-1]
    mesh = Mesh(position, position.copy(), np.full(len(uv), SKIN), g.angle, g.level, g.side, mirror, uv, g)
    u = skin_uv(g.columns, np.zeros(len(g.columns)))[:, 0]
    crown_uv = np.stack([(u[1:] + u[:-1]) / 2, np.ones(len(u) - 1)], 1)
    seam_uv = np.stack([np.ones(len(g.above)), uv[g.above[:, 0], 1]], 1)
    mesh.uv_more = np.concatenate([crown_uv, seam_uv])
    seam = -1 - len(crown_uv) - np.arange(len(seam_uv))
    flip = g.columns[1:] < 1e-9
    first = g.above[0]
    fan = np.stack([np.full(len(flip), g.crown), first[:-1], first[1:]], 1)
    mesh.faces, mesh.uv_faces = fan, fan.copy()
    mesh.uv_faces[:, 0] = -1 - np.arange(len(fan))
    mesh.uv_faces[-1, 2] = seam[0]
    for row in range(len(g.above) - 1):
        top, bottom = g.below[row], g.above[row + 1]
        uv_top, uv_bottom = np.append(top[:-1], seam[row]), np.append(bottom[:-1], seam[row + 1])
        mesh.join(top, bottom, uv_top, uv_bottom, flip)
    mesh.uv[g.above[:, 0], 0] = 0.0
    return mesh


def _lids(mesh: Mesh, sign: int) -> None:
    """The rims of an eye's lids (sign 1 left, -1 right), joined by a sheet inside the eyeball: no hole is left."""
    g = mesh.grid
    span = (cm.INNER_CANTHUS, cm.OUTER_CANTHUS) if sign > 0 else (-cm.OUTER_CANTHUS, -cm.INNER_CANTHUS)
    columns = g.between(*span)
    edges = np.stack([g.above[g.eye_row, columns], g.below[g.eye_row, columns]])
    centre = cm.EYE_CENTRE * [sign, 1, 1]
    middle = mesh.uv[edges].mean(0)
    rims = []
    for edge in edges:
        ray = (mesh.position[edge] - centre) * [1, 0.86, 1]
        place = centre + ray / np.linalg.norm(ray, axis=1, keepdims=True) * (cm.EYE_RADIUS - 0.04)
        uv = 0.65 * mesh.uv[edge] + 0.35 * middle
        rims.append(mesh.add(place, mesh.position[edge], RIM, edge, uv))
    flip = np.full(len(columns) - 1, sign < 0)
    for top, bottom in ((edges[0], rims[0]), (rims[0], rims[1]), (rims[1], edges[1])):
        mesh.join(top, bottom, flip=flip)
    mesh.lids.append(edges if sign > 0 else edges[:, ::-1])
    mesh.rims.append(np.stack(rims) if sign > 0 else np.stack(rims)[:, ::-1])
    if sign < 0:
        mesh.pair(*(rim.ravel() for rim in mesh.rims))


def _mouth(mesh: Mesh) -> None:
    """The bag behind the lips: a strip of rows from the upper lip's edge round the throat to the lower one's."""
    g = mesh.grid
    columns = g.between(-cm.MOUTH_CORNER, cm.MOUTH_CORNER)
    mesh.lips = np.stack([g.above[g.mouth_row, columns], g.below[g.mouth_row, columns]])
    edge = mesh.position[mesh.lips[0]]
    across = g.columns[columns] / cm.MOUTH_CORNER
    arch = np.sqrt(1 - across**2)
    u = UV_MOUTH[0] + (UV_MOUTH[1] - UV_MOUTH[0]) * (across + 1) / 2
    rows = []
    for k, (width, corner, rise, back) in enumerate(BAG):
        place = edge * [width, 1, 1]
        place[:, 1] += corner + rise * arch
        place[:, 2] += back - 0.1 * across**2
        place[[0, -1]] = edge[[0, -1]] - [0, 0, 0.25]  # all rows meet behind the corners: the bag has no open sides
        lip = mesh.lips[0 if BAG_JAW[k] < 0.5 else 1]
        ids = mesh.add(place, edge, MOUTH, lip, np.stack([u, np.full(len(u), bag_v(k))], 1))
        mesh.pair(ids, ids[::-1])
        rows.append(ids)
    mesh.bag = np.stack(rows)
    all_rows = np.concatenate([mesh.lips[:1], mesh.bag, mesh.lips[1:]])
    uv_rows = all_rows.copy()
    uv_rows[0] = mesh.more_uv(np.stack([u, np.full(len(u), bag_v(-0.6))], 1))
    uv_rows[-1] = mesh.more_uv(np.stack([u, np.full(len(u), bag_v(len(BAG) - 0.4))], 1))
    for k in range(len(all_rows) - 1):
        mesh.join(all_rows[k], all_rows[k + 1], uv_rows[k], uv_rows[k + 1], g.columns[columns][1:] < 1e-9)


def bag_v(row: float) -> float:
    """The texture coordinate v of a row of the mouth bag."""
    return UV_MOUTH[2] + (UV_MOUTH[3] - UV_MOUTH[2]) * row / (len(BAG) - 1)


def _rings(mesh: Mesh, first: np.ndarray, rings: list[np.ndarray], sign: int, last: np.ndarray | None = None) -> None:
    """Joins a pole, rings that count counter-clockwise (sign 1) or clockwise (-1), and perhaps a pole behind."""
    rows = [np.repeat(first, len(rings[0])), *rings]
    uv_rows = list(rows)
    if last is not None:
        rows.append(np.repeat(last, len(rings[0])))
        uv_rows.append(rings[-1])  # the cap behind has no room in the layout: it repeats its edge
    flip = np.full(len(rings[0]), sign < 0)
    rows, uv_rows = ([np.append(row, row[0])[::sign] for row in r] for r in (rows, uv_rows))
    for k in range(len(rows) - 1):
        mesh.join(rows[k], rows[k + 1], uv_rows[k], uv_rows[k + 1], flip)


def _eyes(mesh: Mesh, around: int) -> None:
    phi = 2 * np.pi * np.arange(around) / around
    for sign, part in ((1, LEFT_EYE), (-1, RIGHT_EYE)):
        centre = cm.EYE_CENTRE * [sign, 1, 1]
        theta = np.concatenate([[0.0], np.repeat(EYE_RINGS, around), [180.0]])
        turn = np.concatenate([[0.0], np.tile(phi, len(EYE_RINGS)), [0.0]])
        sin, cos = np.sin(np.radians(theta)), np.cos(np.radians(theta))
        flat = np.stack([sign * np.cos(turn), np.sin(turn)], 1)
        place = centre + cm.EYE_RADIUS * np.concatenate([flat * sin[:, None], cos[:, None]], 1)
        middle = np.array([0.5 + sign * (UV_EYE[0] - 0.5), UV_EYE[1]])
        uv = middle + flat * (np.minimum(theta, 125.0) / 125.0 * UV_EYE_RADIUS)[:, None]
        anchor = np.tile(centre + cm.EYE_RADIUS * FORWARD, (len(place), 1))
        ids = mesh.add(place, anchor, part, np.full(len(place), mesh.lids[0 if sign > 0 else 1][0, 3]), uv)
        rings = list(ids[1:-1].reshape(len(EYE_RINGS), around))
        _rings(mesh, ids[:1], rings, sign, ids[-1:])
        mesh.balls.append(ids)
    mesh.pair(*mesh.balls)


def _ears(mesh: Mesh, around: int) -> None:
    phi = 360 * np.arange(around) / around
    flare, tilt = np.radians(EAR_FLARE), np.radians(EAR_TILT)
    size = EAR_OUTLINE(phi)
    for sign, part in ((1, LEFT_EAR), (-1, RIGHT_EAR)):
        places, uvs = [], []
        for scale, height, radius in EAR_RINGS:
            back = scale * size * np.cos(np.radians(phi))
            up = scale * size * np.sin(np.radians(phi))
            back, up = back * np.cos(tilt) + up * np.sin(tilt), up * np.cos(tilt) - back * np.sin(tilt)
            out = (back + 1.2) * np.sin(flare) + height * np.cos(flare)
            behind = back * np.cos(flare) - height * np.sin(flare)
            places.append(EAR_CENTRE + np.stack([out, up, -behind], 1))
            flat = np.stack([sign * np.cos(np.radians(phi)), np.sin(np.radians(phi))], 1)
            uvs.append([0.5 + sign * (UV_EAR[0] - 0.5), UV_EAR[1]] + flat * radius * UV_EAR_RADIUS)
        place = np.concatenate([places[0][:1], *places[1:]]) * [sign, 1, 1]
        near = np.argmin(((mesh.position[mesh.part == SKIN] - [sign * 7.0, -1.5, -0.5]) ** 2).sum(1))
        ids = mesh.add(place, place, part, np.full(len(place), near), np.concatenate([uvs[0][:1], *uvs[1:]]))
        _rings(mesh, ids[:1], list(ids[1:].reshape(-1, around)), sign)
        mesh.ears.append(ids)
    mesh.pair(*mesh.ears)

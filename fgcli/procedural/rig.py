"""Skinning weights, the joints' regressor, vertex regions."""

from __future__ import annotations

import numpy as np

from fgcli.procedural import tables as cm
from fgcli.procedural.curves import smoothstep
from fgcli.procedural.mesh import LEFT_EAR, LEFT_EYE, MOUTH, RIGHT_EAR, RIGHT_EYE, RIM, SKIN, Mesh
from fgcli.procedural.parts import BAG_JAW

ROOT, NECK, JAW, EYES = 0, 1, 2, (3, 4)
JOINT_POINTS = {
    ROOT: [(5.7, -17.0, -1.7)],
    NECK: [(5.0, -8.5, -0.1), (0.0, -9.9, -6.3)],
    JAW: [(7.1, -1.5, 0.6)],
}
"""A joint is the mean of the vertices nearest to these points and to their mirror images; an eye's, of its poles."""


def joint_regressor(mesh: Mesh) -> np.ndarray:
    """(5, v)."""
    regressor = np.zeros((5, len(mesh.position)))
    skin = np.flatnonzero(mesh.part == SKIN)
    for joint, points in JOINT_POINTS.items():
        for point in points:
            nearest = skin[np.argmin(((mesh.position[skin] - point) ** 2).sum(1))]
            for vertex in (nearest, mesh.mirror[nearest]):
                regressor[joint, vertex] += 0.5 / len(points)
    for joint, ball in zip(EYES, mesh.balls, strict=True):
        regressor[joint, ball[[0, -1]]] = 0.5
    return regressor


def weights(mesh: Mesh) -> np.ndarray:
    """(v, 5), rows that sum to 1."""
    angle = abs(mesh.angle)
    side = np.clip((angle - cm.MOUTH_CORNER) / (85.0 - cm.MOUTH_CORNER), 0, 1)
    line = cm.MOUTH_LEVEL + (2.0 - cm.MOUTH_LEVEL) * side
    half = 0.05 + 2.8 * side
    jaw = smoothstep(mesh.level, line - half, line + half)
    slit = (abs(mesh.level - cm.MOUTH_LEVEL) < 1e-9) & (angle < cm.MOUTH_CORNER - 1e-9)
    jaw = np.where(slit, mesh.side < 0, jaw)
    jaw = jaw * smoothstep(angle, 112.0, 78.0) * smoothstep(mesh.level, 17.5, 11.6)
    jaw[mesh.bag] = BAG_JAW[:, None]
    jaw[mesh.bag[:, [0, -1]]] = 0.5
    jaw[mesh.ears[0]] = jaw[mesh.ears[1]] = 0.0
    result = np.zeros((len(mesh.position), 5))
    result[:, ROOT] = smoothstep(mesh.level, 13.0, cm.NECK_BASE) * (mesh.part == SKIN)
    result[:, JAW] = jaw * (1 - result[:, ROOT])
    for joint, ball in zip(EYES, mesh.balls, strict=True):
        result[ball] = 0.0
        result[ball, joint] = 1.0
    result[:, NECK] = 1 - result.sum(1) + result[:, NECK]
    return result


def regions(mesh: Mesh) -> dict[str, np.ndarray]:
    """Vertex ids by FLAME's region names: face, scalp, neck, ears, eyeballs share out the vertices; others overlap."""
    x, y, _ = mesh.position.T
    skin, angle = np.isin(mesh.part, (SKIN, RIM)), abs(mesh.angle)
    neck = skin & ((mesh.level > 12.0) | ((angle > 100) & (y < -7.5)))
    hairline = np.interp(angle, [0, 25, 45, 58, 66, 76, 80], [6.9, 6.9, 5.6, 3.2, 1.2, -1.5, -12.0])
    face = (skin & ~neck & (y < hairline) & (angle < 81)) | (mesh.part == MOUTH)
    lips = face & (np.hypot(x / 2.75, (y + 6.45) / 1.2) < 1) & skin
    boundary = mesh.grid.above[-1, :-1]
    masks = {
        "face": face,
        "forehead": face & skin & (y > 2.6),
        "nose": face & skin & (abs(x) < 0.75 + 0.3 * np.clip(-y, 0, 4)) & (y < 0.6) & (y > -4.5),
        "lips": lips,
        "eye_region": face & skin & (np.hypot((abs(x) - 3.1) / 2.4, (y - 0.5) / 2.0) < 1),
        "left_eyeball": mesh.part == LEFT_EYE,
        "right_eyeball": mesh.part == RIGHT_EYE,
        "scalp": skin & ~neck & ~face,
        "neck": neck,
        "left_ear": mesh.part == LEFT_EAR,
        "right_ear": mesh.part == RIGHT_EAR,
    }
    return {name: np.flatnonzero(mask) for name, mask in masks.items()} | {"boundary": np.sort(boundary)}

"""A head in FLAME's layout, made of formulas: no scan, no licence, no download.

Files, in the order they are used: `tables` the measurements; `loft` the skin's surface over (angle, level) and its
grid; `parts` lids, mouth, eyeballs, ears, the texture's layout; `rig` skinning; `landmarks`; `modes` shape and
expression; `texels` and `albedo` the painted texture. Every number is our own or a textbook proportion.
"""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from pydantic import Field

from fgcli.heads.head import Head
from fgcli.procedural import albedo, landmarks, modes, parts, rig

NOTICE = "Procedural head: made of formulas, under this package's own licence."


def procedural_head(
    detail: Annotated[float, Field(ge=0.4, le=4)] = 1.0, texture_size: Annotated[int, Field(ge=16, le=4096)] = 256
) -> Head:
    """The procedural head; the same arguments give the same bytes.

    Args:
        detail: density of the mesh; 1 gives about 4800 vertices, .72 about 2700.
        texture_size: px of the square texture.
    """
    return Head(**procedural_arrays(detail, texture_size))


def procedural_arrays(detail: float = 1.0, texture_size: int = 256) -> dict[str, Any]:
    """The arguments of `Head`."""
    mesh = parts.build(detail)
    static, contour = landmarks.static(mesh), landmarks.contour(mesh)
    mean, basis = albedo.paint(mesh, texture_size)
    floats = {
        "template": mesh.position / 100,
        "shape_basis": modes.shape_basis(mesh) / 100,
        "expression_basis": modes.expression_basis(mesh) / 100,
        "pose_basis": np.zeros((len(mesh.position), 3, 36)),
        "joint_regressor": rig.joint_regressor(mesh),
        "weights": rig.weights(mesh),
        "landmark_weights": static[1],
        "contour_weights": contour[1],
        "uv": np.concatenate([mesh.uv, mesh.uv_more]),
        "albedo_mean": mean,
        "albedo_basis": basis,
    }
    uv_faces = np.where(mesh.uv_faces < 0, len(mesh.uv) - 1 - mesh.uv_faces, mesh.uv_faces)
    return {
        **{name: np.ascontiguousarray(values, np.float32) for name, values in floats.items()},
        "faces": mesh.faces,
        "uv_faces": uv_faces,
        "landmark_faces": static[0],
        "contour_faces": contour[0],
        "name": "procedural",
        "regions": rig.regions(mesh),
        "expression_names": list(modes.EXPRESSIONS),
        "texture_names": list(albedo.TEXTURES),
        "notice": NOTICE,
    }

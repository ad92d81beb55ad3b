"""Meshes as OBJ (with its material and texture) and PLY: what Blender, MeshLab and trimesh open."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from fgcli.artifacts import write_aside
from fgcli.artifacts.outputs import picture_mark
from fgcli.errors import FgError


@dataclass(frozen=True)
class Mesh:
    """A triangle mesh; uv, texture and colours may have no rows.

    vertices (v, 3), m. faces (f, 3). uv (t, 2) in [0, 1], v up, and uv_faces (f, 3). texture (3, h, w) in [0, 1], row 0
    at v = 1. colours (v, 3) in [0, 1].
    """

    vertices: np.ndarray
    faces: np.ndarray
    uv: np.ndarray = field(default_factory=partial(np.zeros, (0, 2), np.float32))
    uv_faces: np.ndarray = field(default_factory=partial(np.zeros, (0, 3), np.int64))
    texture: np.ndarray = field(default_factory=partial(np.zeros, (3, 0, 0), np.float32))
    colours: np.ndarray = field(default_factory=partial(np.zeros, (0, 3), np.float32))


def coloured(mesh: Mesh) -> Mesh:
    """The mesh with each vertex coloured as the texture is at its corner (nearest texel)."""
    height, width = mesh.texture.shape[1:]
    places = mesh.uv[mesh.uv_faces].reshape(-1, 2)
    columns = np.clip(places[:, 0] * width, 0, width - 1).astype(np.int64)
    rows = np.clip((1 - places[:, 1]) * height, 0, height - 1).astype(np.int64)
    colours = np.zeros((len(mesh.vertices), 3), np.float32)
    colours[mesh.faces.reshape(-1)] = mesh.texture[:, rows, columns].T
    return replace(mesh, colours=colours)


def write_obj(path: Path, mesh: Mesh) -> list[Path]:
    """Writes `path`, and beside it .mtl and .png where the mesh has a texture; returns what was written."""
    lines = ["# fg: metres; x to the subject's left, y up, z out of the face"]
    textured = bool(mesh.texture.size and len(mesh.uv_faces))
    if textured:
        lines += [f"mtllib {path.stem}.mtl", "usemtl head"]
    values = np.hstack([mesh.vertices, mesh.colours]) if len(mesh.colours) else mesh.vertices
    lines += _rows("v", values, "%.7g")
    lines += _rows("vt", mesh.uv, "%.7g")
    if len(mesh.uv_faces):
        corners = np.stack([mesh.faces, mesh.uv_faces], -1).reshape(-1, 6) + 1
        lines += _rows("f", corners, "%d/%d %d/%d %d/%d")
    else:
        lines += _rows("f", mesh.faces + 1, "%d")
    written = [path]
    if textured:
        written += [path.with_suffix(".mtl"), path.with_suffix(".png")]
        material = f"# fg\nnewmtl head\nKa 1 1 1\nKd 1 1 1\nKs 0 0 0\nillum 1\nmap_Kd {path.stem}.png\n"
        _write(written[1], material.encode())
        with write_aside(written[2]) as part:
            Image.fromarray(_bytes(mesh.texture.transpose(1, 2, 0))).save(part, "PNG", **picture_mark("PNG"))
    _write(path, ("\n".join(lines) + "\n").encode())
    return written


def write_ply(path: Path, mesh: Mesh) -> list[Path]:
    """Writes a binary PLY with the colour of each vertex and the texture coordinates of each triangle's corners."""
    header = ["ply", "format binary_little_endian 1.0", "comment fg: metres", f"element vertex {len(mesh.vertices)}"]
    header += [f"property float {axis}" for axis in "xyz"]
    kinds: list[tuple[str, str, tuple[int, ...]]] = [("place", "<f4", (3,))]
    if len(mesh.colours):
        header += [f"property uchar {name}" for name in ("red", "green", "blue")]
        kinds.append(("colour", "u1", (3,)))
    vertices = np.zeros(len(mesh.vertices), kinds)
    vertices["place"] = mesh.vertices
    if len(mesh.colours):
        vertices["colour"] = _bytes(mesh.colours)
    header += [f"element face {len(mesh.faces)}", "property list uchar int vertex_indices"]
    kinds = [("three", "u1", ()), ("ids", "<i4", (3,))]
    if len(mesh.uv_faces):
        header.append("property list uchar float texcoord")
        kinds += [("six", "u1", ()), ("uv", "<f4", (6,))]
    faces = np.zeros(len(mesh.faces), kinds)
    faces["three"], faces["ids"] = 3, mesh.faces
    if len(mesh.uv_faces):
        faces["six"], faces["uv"] = 6, mesh.uv[mesh.uv_faces].reshape(-1, 6)
    text = "\n".join([*header, "end_header", ""])
    _write(path, text.encode() + vertices.tobytes() + faces.tobytes())
    return [path]


def read_obj(path: Path) -> Mesh:
    """Reads vertices, triangles and texture coordinates; colours, normals and materials are not looked at.

    Raises:
        FgError: no such file, faces that are no triangles, or a line that is no OBJ.
    """
    if not path.is_file():
        raise FgError(f"{path}: expected an OBJ mesh, found no such file; check the path")
    found: dict[str, list[list[str]]] = {"v": [], "vt": [], "f": []}
    for line in path.read_text(errors="replace").splitlines():
        kind, *values = line.split() or [""]
        if kind in found:
            found[kind].append(values)
    try:
        corners = [[corner.split("/") for corner in face] for face in found["f"]]
        if not corners or any(len(face) != 3 for face in corners):
            raise ValueError("faces of three corners are wanted")
        mapped = all(len(corner) > 1 and corner[1] for face in corners for corner in face)
        places = np.array([v[:3] for v in found["v"]], np.float32)
        uv = np.array([v[:2] for v in found["vt"]], np.float32).reshape(-1, 2)
        faces = _ids([[corner[0] for corner in face] for face in corners], len(places))
        uv_faces = _ids([[c[1] for c in face] for face in corners], len(uv)) if mapped else np.zeros((0, 3), np.int64)
    except ValueError as error:
        raise FgError(f"{path}: expected an OBJ of triangles, found another ({error}); export it again") from error
    return Mesh(places, faces, uv, uv_faces)


def _ids(corners: list[list[str]], count: int) -> np.ndarray:
    """Ids from 0; OBJ counts from 1, and from the end where negative."""
    ids = np.array(corners, np.int64)
    ids = np.where(ids < 0, ids + count, ids - 1)
    if ids.min() < 0 or ids.max() >= count:
        raise ValueError(f"a corner beyond the {count} that are listed")
    return ids


def _rows(kind: str, values: np.ndarray, form: str) -> Iterable[str]:
    """One line per row; `form` is of the whole row, or of one value."""
    if not len(values):
        return []
    form = form if " " in form else " ".join([form] * values.shape[1])
    return [f"{kind} {form % tuple(row)}" for row in values.tolist()]


def _bytes(colours: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(np.rint(np.clip(colours, 0, 1) * 255).astype(np.uint8))


def _write(path: Path, content: bytes) -> None:
    with write_aside(path) as part:
        part.write_bytes(content)

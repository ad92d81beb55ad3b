"""Pictures of fitted heads beside their photos."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image, ImageDraw

from fgcli.artifacts import Artifact
from fgcli.fitting.extract import same_head
from fgcli.fitting.extraction import drawing
from fgcli.fitting.views import photo_texture, turned
from fgcli.heads.head import Head
from fgcli.heads.light import directional
from fgcli.heads.parameters import Parameters
from fgcli.heads.render import Render, normal_image, render
from fgcli.reports.images import Row, pictures_of
from fgcli.reports.plots import histogram

FOUND, FITTED = (255, 60, 60), (60, 230, 90)
"""Colours of the landmarks that were found, and of the head's own."""
TITLES = ("photo", "mesh", "landmarks", "normals", "render")
SIDE, TURN, MOST = 128, 26.0, 6.0
"""Side of the report's pictures, px; how far heads are turned there, degrees; end of the histogram, %."""
GROUP = 16


@dataclass(frozen=True)
class Heads:
    """The report's section: a row of pictures per person, what they are, residuals, rows that failed by reason."""

    titles: list[str]
    people: list[Row]
    method: str
    histogram: str
    failed: list[tuple[str, int]]
    rows: int


def section(
    flame: Artifact, images: np.ndarray, masks: np.ndarray, landmarks: np.ndarray, labels: Mapping[int, str]
) -> Heads:
    """Heads of the rows that `labels` names, turned to both sides too, and how well all rows fit."""
    about, rows = flame.meta, list(labels)
    head = same_head(about["head"], flame.path)
    titles = [*TITLES, f"{TURN:g}\u00b0 to one side", "and to the other"]
    people = [
        Row(labels[r], pictures_of([*drawn, *sides(head, flame, images[[r]], masks[[r]], r)], titles))
        for r, drawn in zip(rows, tiles(head, images, landmarks, flame.arrays, rows, SIDE), strict=True)
    ]
    ok = flame["status"] == "ok"
    spread = histogram("landmark residuals", 100 * flame["residuals"][ok], "% of the outer eye distance", MOST)
    method = f"{about['method']['name']}, refined by {about['method']['refine']}, head {about['head']['name']}"
    failed = Counter(map(str, flame["status"][~ok])).most_common()
    return Heads(titles, people, method, spread, failed, len(ok))


def sides(head: Head, flame: Artifact, image: np.ndarray, mask: np.ndarray, row: int) -> list[np.ndarray]:
    """The person turned to one side and to the other, in the skin of the photo; the albedo's where there is no UV."""
    p = Parameters.from_arrays(flame.arrays).rows([row])
    picture, face = torch.tensor(image).movedim(3, 1).float() / 255, torch.tensor(mask)[:, None].float() / 255
    with torch.no_grad():
        skin = photo_texture(head, picture, face, p) if len(head.uv) else None
        drawn = turned(head, p, torch.tensor([-TURN, TURN]).deg2rad(), skin, SIDE)
    return u8(drawn.image)


def tiles(
    head: Head,
    images: np.ndarray,
    landmarks: np.ndarray,
    arrays: Mapping[str, np.ndarray],
    rows: Sequence[int],
    side: int,
) -> list[list[np.ndarray]]:
    """Five pictures uint8 (side, side, 3) per row, as TITLES: the photo, the fitted mesh over it, landmarks found (red)
    and fitted (green), the normals, and the textured render under the fitted light.

    Args:
        images: (N, h, w, 3) uint8. landmarks: (N, 68, 2), px. arrays: those of flame.h5.
    """  # fmt: skip
    found: list[list[np.ndarray]] = []
    for first in range(0, len(rows), GROUP):
        some = np.asarray(rows[first : first + GROUP])
        p = Parameters.from_arrays({k: v[some] for k, v in arrays.items() if k in vars(Parameters.zeros(1))})
        photos = [enlarged(images[i], side) for i in some]
        with torch.no_grad():
            textured = drawing(head, p, side)
            clay = modelled(head, p, side)
        cover = clay.mask.movedim(1, 3).numpy()
        meshes = u8(clay.image)
        over = [
            (p * (1 - 0.6 * c) + 0.6 * c * m).round().astype(np.uint8)
            for p, c, m in zip(photos, cover, meshes, strict=True)
        ]
        zoom = side / images.shape[1]
        marked = [
            dots(dots(photo, landmarks[i] * zoom, FOUND), arrays["landmarks2d"][i] * zoom, FITTED)
            for photo, i in zip(photos, some, strict=True)
        ]
        found += map(list, zip(photos, over, marked, u8(normal_image(clay)), u8(textured.image), strict=True))
    return found


def modelled(head: Head, p: Parameters, side: int) -> Render:
    """The mesh of heads as clay, as their cameras see it."""
    vertices = head.vertices(p.shape, p.expression, p.pose)
    return render(head, vertices, p.camera, side, None, directional((0.3, 0.6, 1.0)))


def u8(images: torch.Tensor) -> list[np.ndarray]:
    """(n, 3, h, w) in [0, 1] as pictures (h, w, 3)."""
    return list((images.clamp(0, 1) * 255).round().byte().movedim(1, 3).numpy())


def enlarged(image: np.ndarray, side: int) -> np.ndarray:
    """A picture at another size."""
    return np.asarray(Image.fromarray(np.ascontiguousarray(image)).resize((side, side), Image.Resampling.BICUBIC))


def dots(image: np.ndarray, points: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    """The picture with a dot at every point (m, 2)."""
    page = Image.fromarray(image)
    draw = ImageDraw.Draw(page)
    for x, y in points[np.isfinite(points).all(1)].round().astype(int).tolist():
        draw.rectangle((x, y, x + 1, y + 1), colour)
    return np.asarray(page)

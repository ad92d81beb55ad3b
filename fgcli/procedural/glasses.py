"""Spectacles made of formulas: two rims, a bridge and two temples, fitted to a head and drawn before its picture.

A pair is fitted to its wearer's shape at rest and carried by the head's global rotation; jaw and expression leave it
where it is. Forms are measured in half the distance between the eyes, about 31 mm, from the middle between the eyes.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import pi

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from fgcli.heads.camera import project
from fgcli.heads.head import Head, rotation_matrices
from fgcli.heads.parameters import Parameters
from fgcli.heads.rasteriser import rasterise
from fgcli.heads.render import Render, shading, unit

RIM, BRIDGE, AROUND = 36, 7, 6  # points along a rim, along the bridge, and around their tubes
BEND, TILT = 0.07, 0.12
"""How the rims' surface falls back: with the square of the distance from the nose, and towards the cheeks."""
DROP, REST, BEHIND = 0.1, 0.2, 0.6
"""How far the rims' middles are below the eyes, and the ears' tops over and behind the jaw's first points."""
AIR = 0.07  # least distance from the skin
COLOURS = {
    "dark": [(0.02, 0.02, 0.025), (0.04, 0.05, 0.14), (0.16, 0.03, 0.04)],
    "metal": [(0.7, 0.7, 0.7), (0.75, 0.56, 0.24), (0.12, 0.12, 0.13)],
    "tortoise": [(0.42, 0.2, 0.07), (0.3, 0.14, 0.05), (0.5, 0.28, 0.12)],
}


@dataclass(frozen=True)
class Pair:
    """One person's glasses.

    form: a rim's half width and height, power (2: ellipse, 5: nearly a rectangle), half thickness; half the rims' gap.
    colours: the frame's and its spots', (2, 3).
    """

    form: tuple[float, ...]
    colours: np.ndarray


def draw_pair(rng: np.random.Generator) -> Pair:
    """A pair of any style."""
    kind = ("dark", "metal", "tortoise")[rng.integers(3)]
    width, ratio, power = rng.uniform(0.72, 0.9), rng.uniform(0.62, 0.95), rng.uniform(2, 5)
    thickness = rng.uniform(0.042, 0.052) if kind == "metal" else rng.uniform(0.05, 0.08)
    colours = np.outer([1, 0.3 if kind == "tortoise" else 1], COLOURS[kind][rng.integers(3)])
    return Pair((width, ratio * width, power, thickness, rng.uniform(0.26, 0.32)), colours)


def put_on(head: Head, p: Parameters, pairs: list[Pair | None], drawn: Render) -> tuple[Tensor, Tensor]:
    """Picture (n, 3, h, w) and mask (n, 1, h, w) of `drawn` with row i wearing pairs[i]; None: nothing."""
    image, mask = drawn.image, drawn.mask
    worn = [pair for pair in pairs if pair is not None]
    if not worn:
        return image, mask
    rows = torch.tensor([i for i, pair in enumerate(pairs) if pair is not None])
    q = p.rows(rows)
    points, normals, faces = mesh(head, q, worn)
    fragments = rasterise(project(points, q.camera), faces, drawn.fragments.size)
    row, pixel = rows[fragments.picture], fragments.pixel % fragments.size**2
    nearer = fragments.depths > drawn.fragments.depth.flatten(1)[row, pixel]
    colours = torch.from_numpy(np.stack([pair.colours for pair in worn])).to(points)
    along = torch.arange(points.shape[1])[:, None]
    spots = torch.sigmoid(3 * (torch.sin(0.17 * along) + torch.sin(0.31 * along + 1)))
    albedo = fragments.gather(faces, colours[:, :1].lerp(colours[:, 1:], spots))
    lit = albedo * shading(unit(fragments.gather(faces, normals)), q.light, fragments.counts)
    image, mask, row, pixel = image.clone(), mask.clone(), row[nearer], pixel[nearer]
    image.flatten(2)[row, :, pixel] = lit.t()[nearer]
    mask.flatten(2)[row, :, pixel] = 1
    return image, mask


def mesh(head: Head, p: Parameters, pairs: list[Pair]) -> tuple[Tensor, Tensor, Tensor]:
    """Points and unit normals (n, v, 3) of the pairs as worn, in head space, and triangles (f, 3)."""
    at_rest = head.vertices(p.shape, p.expression[:, :0], torch.zeros_like(p.pose))
    eyes = head.joints(p.shape, p.expression[:, :0])[:, 3:]
    middle, scale = eyes.mean(1, keepdim=True), (eyes[:, :1, :1] - eyes[:, 1:, :1]) / 2
    right, left = ((head.landmarks(at_rest)[:, [0, 16]] - middle) / scale).split(1, 1)
    ear = torch.cat([left[..., :1] - right[..., :1], left[..., 1:] + right[..., 1:]], 2) / 2
    form = torch.tensor([pair.form for pair in pairs]).to(at_rest)
    rim, temple, bridge = _paths((at_rest - middle) / scale, ear, form)
    thick, mirror = form[:, 3:4], form.new_tensor([-1, 1, 1])
    parts = [_tube(rim, 2, thick, closed=True), _tube(temple, 1, 0.8 * thick)]
    parts += [(points * mirror, normals * mirror, faces.flip(1)) for points, normals, faces in parts]
    parts.append(_tube(bridge, 1, 0.9 * thick))
    points, normals = (torch.cat([part[i] for part in parts], 1) for i in (0, 1))
    first = np.cumsum([0] + [part[0].shape[1] for part in parts])
    faces = torch.cat([part[2] + int(i) for part, i in zip(parts, first, strict=False)])
    root, turned = head.joints(p.shape, p.expression)[:, :1], rotation_matrices(p.pose[:, :3]).mT
    return (points * scale + middle - root) @ turned + root, normals @ turned, faces


def _paths(skin: Tensor, ear: Tensor, form: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The middle lines of left rim, left temple and bridge, (n, m, 3) each, before faces of vertices `skin` (n, v, 3).

    ear: (n, 1, 3), where the left ear begins. form: (n, 5), as in `Pair`.
    """
    x, y, z = skin.unbind(2)
    width, height, power, thick, gap = form.split(1, 1)
    centre = torch.maximum(width + gap, torch.ones_like(gap))  # no nearer to the nose than the eye's own

    def fall(x: Tensor, y: Tensor) -> Tensor:
        return TILT * (y + DROP) - BEND * x.square()

    def clear(inside: Tensor, depth: Tensor) -> Tensor:
        return torch.where(inside, depth, 0.5).amax(1, keepdim=True) + AIR + thick

    far = ((x.abs() - centre).abs() / width) ** power + ((y + DROP).abs() / height) ** power
    front = clear((far < 1.3) & (z > 0), z - fall(x, y))
    turn = torch.arange(RIM).to(x) * (2 * pi / RIM)
    reach = ((turn.cos().abs() / width) ** power + (turn.sin().abs() / height) ** power) ** (-1 / power)
    rim_x, rim_y = centre + reach * turn.cos(), reach * turn.sin() - DROP
    rim = torch.stack([rim_x, rim_y, front + fall(rim_x, rim_y)], 2)

    along = torch.linspace(-1, 1, BRIDGE).to(x)
    arch, high, inner = 1 - along.square(), 0.35 * height - DROP, centre - width + thick
    ends = front + fall(inner, high)
    over = (clear((x.abs() < gap) & ((y - high).abs() < 0.15), z) - ends).clamp_min(0)
    bridge = torch.stack([inner * along, high + 0.1 * arch, ends + over * arch], 2)

    ear_y, ear_z = ear[..., 1] + REST, ear[..., 2] - BEHIND
    ear_x = clear(((y - ear_y).abs() < 0.2) & (z > ear_z), x.abs())
    hinge_x, hinge_y = centre + 0.97 * width, 0.4 * height - DROP
    hinge_z, wide = front + fall(hinge_x, hinge_y), hinge_x + 0.12
    before = [(hinge_x, hinge_y, hinge_z), (wide - 0.03, hinge_y, hinge_z - 0.02), (wide, hinge_y, hinge_z - 0.1)]
    after = [(ear_x, ear_y, ear_z), (ear_x, ear_y, ear_z - 0.4), (ear_x - 0.1, ear_y - 0.5, ear_z - 0.9)]
    return rim, torch.stack([torch.cat(point, 1) for point in before + after], 1), bridge


def _tube(path: Tensor, axis: int, radius: Tensor, closed: bool = False) -> tuple[Tensor, Tensor, Tensor]:
    """Points and normals (n, m AROUND, 3) and triangles of a tube about a path (n, m, 3), never along `axis`."""
    loop = torch.cat([path[:, -1:], path, path[:, :1]] if closed else [path[:, :1], path, path[:, -1:]], 1)
    along = normalize(loop[:, 2:] - loop[:, :-2], dim=2)
    aside = normalize(torch.linalg.cross(torch.eye(3).to(path)[axis].expand_as(along), along), dim=2)
    turn = (torch.arange(AROUND) * (2 * pi / AROUND)).to(path)[:, None]
    normals = turn.cos() * aside[:, :, None] + turn.sin() * torch.linalg.cross(along, aside)[:, :, None]
    points = (path[:, :, None] + radius[..., None, None] * normals).flatten(1, 2)
    rings = torch.arange(path.shape[1] * AROUND).view(-1, AROUND)
    a, c = (rings, rings.roll(-1, 0)) if closed else (rings[:-1], rings[1:])
    b, d = a.roll(-1, 1), c.roll(-1, 1)
    faces = torch.cat([torch.stack([a, b, c], 2).flatten(0, 1), torch.stack([b, d, c], 2).flatten(0, 1)])
    return points, normals.flatten(1, 2), faces

"""Which face covers which pixel, and where on the face: a z-buffer in plain PyTorch.

Every front face offers the pixels of its bounding box; the nearest face that holds a pixel's centre wins it. All faces
are treated at once, as one ragged list of (face, pixel) candidates. The winners carry no gradient; barycentric weights
and depth at the covered pixels are computed again from the vertices, differentiably, with the winners fixed. The
outline's own motion is therefore not in the gradient.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import torch
from torch import Tensor

from fgcli.errors import FgError
from fgcli.heads.camera import to_pixels

SLACK = 1e-4
"""How far outside a face (as a barycentric weight) a pixel's centre may lie: no pinholes between neighbours."""
SMALLEST = 1e-6
"""Faces of less than half this many square pixels are left out: rounding would decide where they are."""
FACE_BITS = 24
STEPS, FARTHEST = 2.0**28, 2.0**37
"""Steps of depth in one NDC, and how many there are on either side of 0: 38 bits above the face's number."""
CACHE_ITEMS = 1 << 15


@dataclass(frozen=True)
class Fragments:
    """The covered pixels of n pictures, k in all, in reading order; the properties are whole pictures.

    n, size: the pictures are n x size x size.
    pixel: (k,) int64, index into the flattened pictures.
    face_ids: (k,) int64.
    weights: (3, k) barycentric, differentiable.
    depths: (k,) NDC, larger is nearer, differentiable.
    """

    n: int
    size: int
    pixel: Tensor
    face_ids: Tensor
    weights: Tensor
    depths: Tensor

    @cached_property
    def counts(self) -> list[int]:
        """Covered pixels of each picture."""
        edges = torch.arange(self.n + 1, device=self.pixel.device) * self.size**2
        return torch.searchsorted(self.pixel, edges).diff().tolist()

    @cached_property
    def picture(self) -> Tensor:
        """Which picture each covered pixel is in, (k,) int64."""
        counts = torch.tensor(self.counts, device=self.pixel.device)
        return torch.repeat_interleave(counts, output_size=len(self.pixel))

    @property
    def pieces(self) -> list[slice]:
        """The covered pixels in portions that the cache holds."""
        piece = _piece(self.pixel)
        return [slice(i, i + piece) for i in range(0, max(1, len(self.pixel)), piece)]

    @property
    def face(self) -> Tensor:
        """(n, h, w) int64, -1 where empty."""
        return self.spread(self.face_ids[None], -1)[:, 0]

    @property
    def bary(self) -> Tensor:
        """(n, h, w, 3), 0 where empty."""
        return self.spread(self.weights).permute(0, 2, 3, 1)

    @property
    def depth(self) -> Tensor:
        """(n, h, w), -inf where empty."""
        return self.spread(self.depths[None], -torch.inf)[:, 0]

    @property
    def mask(self) -> Tensor:
        """(n, 1, h, w), 1 where covered."""
        return self.spread(torch.ones_like(self.depths)[None].detach())

    def gather(self, faces: Tensor, values: Tensor) -> Tensor:
        """Values at the corners (n, v, c) or (v, c), interpolated at the covered pixels: (c, k)."""
        planes = values.movedim(-1, 0).flatten(1).contiguous()
        faces, parts = faces.t().contiguous(), []
        for some in self.pieces:
            corners = faces.index_select(1, self.face_ids[some])
            if values.dim() == 3 and self.n > 1:
                corners = corners + self.picture[some] * values.shape[1]
            first, second, third = (planes.index_select(1, corner) for corner in corners)
            w0, w1, w2 = self.weights[:, some]
            parts.append(w0 * first + w1 * second + w2 * third)
        return torch.cat(parts, 1)

    def spread(self, values: Tensor, empty: float = 0) -> Tensor:
        """Pictures (n, c, h, w) with `values` (c, k) at the covered pixels and `empty` elsewhere."""
        c, area = len(values), self.size**2
        at = self.pixel if self.n == 1 else self.pixel + self.picture * ((c - 1) * area)
        at = at + torch.arange(c, device=at.device)[:, None] * area
        pictures = values.new_full((self.n * c * area,), empty).scatter_(0, at.flatten(), values.flatten())
        return pictures.view(self.n, c, self.size, self.size)


def rasterise(ndc: Tensor, faces: Tensor, size: int, cull: bool = True) -> Fragments:
    """The visible faces of a mesh in n poses.

    Args:
        ndc: (n, v, 3) x, y (down), depth (larger nearer), see `camera.project`.
        faces: (f, 3) int64, counter-clockwise seen from outside.
        size: side of the pictures, px.
        cull: leave out faces that show their back.

    Raises:
        FgError: no faces, no pixels, or a vertex that is no number.
    """
    _check(ndc, faces, size)
    n, area = len(ndc), size**2
    with torch.no_grad():
        x, y = (plane.contiguous() for plane in to_pixels(ndc, size).unbind(-1))
        z = (ndc[..., 2] * STEPS).clamp(-0.99 * FARTHEST, 0.99 * FARTHEST)
        winners = torch.zeros(n * area, dtype=torch.int64, device=ndc.device)
        rows, piece = faces.t().contiguous(), _piece(ndc)
        step = max(1, piece // len(faces))
        for first in range(0, n, step):
            some = slice(first, first + step)
            _draw(winners[first * area :], (x[some], y[some], z[some]), rows, size, cull, piece)
        pixel = winners.nonzero()[:, 0]
        face_ids = winners.index_select(0, pixel) & ((1 << FACE_BITS) - 1)
    empty = ndc.new_empty(0)
    return refresh(Fragments(n, size, pixel, face_ids, empty, empty), ndc, faces)


def refresh(fragments: Fragments, ndc: Tensor, faces: Tensor) -> Fragments:
    """The same faces at the same pixels, with weights and depth from vertices that have moved a little."""
    size = fragments.size
    planes = torch.stack([*to_pixels(ndc, size).unbind(-1), ndc[..., 2]]).flatten(1)
    faces, parts = faces.t().contiguous(), []
    for some in fragments.pieces:
        pixel = fragments.pixel[some]
        row = pixel // size
        column = pixel - row * size
        corners = faces.index_select(1, fragments.face_ids[some])
        if fragments.n > 1:
            picture = fragments.picture[some]
            corners, row = corners + picture * ndc.shape[1], row - picture * size
        parts.append(_weights([planes.index_select(1, corner) for corner in corners], column, row))
    weights = torch.cat(parts, 1)
    return Fragments(fragments.n, size, fragments.pixel, fragments.face_ids, weights[:3], weights[3])


def _weights(corners: list[Tensor], column: Tensor, row: Tensor) -> Tensor:
    """Barycentric weights and depth (4, k) at pixels whose faces have three corners of x, y, depth (3, k)."""
    (x0, y0, z0), (x1, y1, z1), (x2, y2, z2) = corners
    x0, x1, x2 = x0 - column, x1 - column, x2 - column  # from the pixel: small numbers lose no digits
    y0, y1, y2 = y0 - row, y1 - row, y2 - row
    w0, w1, w2 = x1 * y2 - x2 * y1, x2 * y0 - x0 * y2, x0 * y1 - x1 * y0
    scale = 1 / (w0 + w1 + w2)
    w0, w1, w2 = w0 * scale, w1 * scale, w2 * scale
    return torch.stack([w0, w1, w2, w0 * z0 + w1 * z1 + w2 * z2])


def interpolate(fragments: Fragments, faces: Tensor, values: Tensor) -> Tensor:
    """Pictures (n, h, w, c) of values at the corners (n, v, c) or (v, c), 0 where empty.

    For values that a seam tears apart, such as UV, `faces` indexes those values: (f, 3), the same faces in order.
    """
    return fragments.spread(fragments.gather(faces, values)).permute(0, 2, 3, 1)


def _check(ndc: Tensor, faces: Tensor, size: int) -> None:
    if not 0 < len(faces) < 1 << FACE_BITS:
        raise FgError(f"mesh: expected between 1 and {(1 << FACE_BITS) - 1} faces, found {len(faces)}")
    if size < 1:
        raise FgError(f"picture: expected a size of at least 1 px, found {size}")
    if not all(torch.isfinite(end) for end in torch.aminmax(ndc)):
        raise FgError("mesh: expected finite vertices and camera, found NaN or infinity; check the parameters")


def _piece(like: Tensor) -> int:
    """How many items to treat at once: what the cache holds on a CPU; plenty, for few launches, elsewhere."""
    return CACHE_ITEMS if like.device.type == "cpu" else 1 << 24


def _draw(
    winners: Tensor, points: tuple[Tensor, Tensor, Tensor], faces: Tensor, size: int, cull: bool, piece: int
) -> None:
    """Enter the faces (3, f) of m meshes, pixel x, y and depth in steps (m, v) each, into winners (m h w or more)."""
    m, v = points[0].shape
    count = faces.shape[1]
    corners = (faces[:, None] + torch.arange(m, device=faces.device)[:, None] * v).flatten(1)
    x, y, z = (plane.flatten() for plane in points)
    kept, left, top, width, height = _boxes(
        [x.index_select(0, c) for c in corners], [y.index_select(0, c) for c in corners], size, cull
    )
    corners = corners.index_select(1, kept)
    x0, x1, x2 = (x.index_select(0, c) - left for c in corners)
    y0, y1, y2 = (y.index_select(0, c) - top for c in corners)
    z0, z1, z2 = (z.index_select(0, c) for c in corners)
    # In the box every weight is affine: a x + b y + c. Where it is at least -SLACK bounds x by p y + q.
    scale = 1 / ((x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0))
    a = torch.stack([y1 - y2, y2 - y0, y0 - y1]) * scale
    b = torch.stack([x2 - x1, x0 - x2, x1 - x0]) * scale
    c = torch.stack([x1 * y2 - x2 * y1, x2 * y0 - x0 * y2, x0 * y1 - x1 * y0]) * scale
    depth = torch.stack([(plane * torch.stack([z0, z1, z2])).sum(0) for plane in (a, b, c)])
    a = torch.where(a == 0, -1e-20, a)
    p, q = -b / a, -(c + SLACK) / a
    lower, upper = torch.where(a > 0, q, -torch.inf), torch.where(a > 0, torch.inf, q)
    rows = torch.cat([p, lower, upper, width[None] - 1, depth])
    area = size**2
    numbers = torch.stack([kept // count * area + top.long() * size + left.long(), kept % count])
    for some in _portions(height.long(), piece):
        _enter(winners, rows[:, some], numbers[:, some], height[some].long(), size, piece)


def _enter(winners: Tensor, faces: Tensor, numbers: Tensor, heights: Tensor, size: int, piece: int) -> None:
    """Offer the pixels of some faces to `winners`, row by row."""
    which, down = _ragged(heights)
    p0, p1, p2, l0, l1, l2, u0, u1, u2, last, az, bz, cz = faces.index_select(1, which)
    y = down.to(p0.dtype)
    p0, p1, p2 = p0.mul_(y), p1.mul_(y), p2.mul_(y)
    start = torch.maximum(torch.maximum(l0.add_(p0), l1.add_(p1)), l2.add_(p2)).clamp_(min=0).ceil_()
    stop = torch.minimum(torch.minimum(u0.add_(p0), u1.add_(p1)), u2.add_(p2)).minimum(last).floor_()
    depth = torch.stack([bz.mul_(y).add_(cz).add_(az * start), az])
    first, face = numbers.index_select(1, which)
    first = first.add_(down.mul_(size)).add_(start.long())
    numbers = torch.stack([first, face.add_(int(FARTHEST) << FACE_BITS)])
    widths = (stop - start).add_(1).long().clamp_(min=0)
    for some in _portions(widths, piece):
        which, right = _ragged(widths[some])
        z, slope = depth[:, some].index_select(1, which)
        first, face = numbers[:, some].index_select(1, which)
        key = z.add_(slope.mul_(right)).clamp_(-FARTHEST, FARTHEST).long().bitwise_left_shift_(FACE_BITS).add_(face)
        winners.scatter_reduce_(0, first.add_(right), key, "amax")


def _ragged(counts: Tensor) -> tuple[Tensor, Tensor]:
    """Which item, 0 0 0 1 2 2, and the place in it, 0 1 2 0 0 1, where item i is repeated counts[i] times, 3 1 2."""
    ends = counts.cumsum(0)
    total = int(ends[-1])
    which = torch.repeat_interleave(counts, output_size=total)
    return which, torch.arange(total, device=counts.device).sub_((ends - counts).index_select(0, which))


def _portions(counts: Tensor, piece: int) -> list[slice]:
    """Slices of items that make about `piece` each when item i is repeated counts[i] times."""
    ends = counts.cumsum(0)
    total = int(ends[-1]) if len(ends) else 0
    if total <= piece:
        return [slice(0, len(counts))] * (total > 0)
    marks = torch.arange(piece, total, piece, device=counts.device)
    cuts = [0, *torch.searchsorted(ends, marks).tolist(), len(counts)]
    return [slice(i, j) for i, j in pairwise(cuts) if j > i]


def _boxes(xs: list[Tensor], ys: list[Tensor], size: int, cull: bool) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Which faces may cover a pixel, (k,) int64, and left, top, width, height of their pixels, (k,) float each."""
    (x0, x1, x2), (y0, y1, y2) = xs, ys
    left, right = torch.minimum(torch.minimum(x0, x1), x2), torch.maximum(torch.maximum(x0, x1), x2)
    top, bottom = torch.minimum(torch.minimum(y0, y1), y2), torch.maximum(torch.maximum(y0, y1), y2)
    left, top = left.clamp_(min=0).ceil_(), top.clamp_(min=0).ceil_()
    width = right.clamp_(max=size - 1).floor_().sub_(left).add_(1)
    height = bottom.clamp_(max=size - 1).floor_().sub_(top).add_(1)
    whole = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
    shown = whole < -SMALLEST if cull else whole.abs() > SMALLEST
    kept = (shown & (width > 0) & (height > 0)).nonzero()[:, 0]
    return kept, *torch.stack([left, top, width, height]).index_select(1, kept)

"""Cutting a face out of a photo, and putting it back.

Maps are affine (2, 3): `crop = A @ source + b`, in px. The centre of the top left pixel is (0, 0) on both sides.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from fgcli.errors import FgError
from fgcli.faces.landmarks import MOUTH_CORNERS, Face, eye_centres

BAND_PX = 1 << 20
"""Samples taken at once: keeps memory flat however large the photo."""


def choose(faces: Sequence[Face], rule: str, shape: tuple[int, int] = (0, 0)) -> Face:
    """The face that `rule` picks: "only" (there must be one), "largest", "centre" (nearest to that of the photo), or a
    number such as "2", from left to right.

    Args:
        faces: at least none.
        rule: one of these.
        shape: (h, w) of the photo, px; needed for "centre".

    Raises:
        FgError: no face, several where one was expected, or none of that number.
    """
    if not faces:
        raise FgError("no face found")
    if rule.isdecimal():
        if not 1 <= int(rule) <= len(faces):
            raise FgError(f"{len(faces)} faces found, expected a face {rule}; set preprocess.face=largest")
        return numbered(faces)[int(rule) - 1]
    if rule == "only" and len(faces) > 1:
        raise FgError(f"{len(faces)} faces found, expected one; set preprocess.face=largest")
    if rule == "centre":
        middle = np.array([shape[1] / 2, shape[0] / 2])
        return min(faces, key=lambda f: float(np.hypot(*(f.landmarks.mean(0) - middle))))
    return max(faces, key=lambda f: f.area)


def numbered(faces: Sequence[Face]) -> list[Face]:
    """Faces from left to right, by the middles of their boxes: the first is number 1."""
    return sorted(faces, key=lambda f: (f.box[0] + f.box[2], f.box[1]))


def crop_transform(landmarks: np.ndarray, size: int, framing: float = 1.0) -> np.ndarray:
    """Similarity (2, 3), float64, from source px to the px of a `size` x `size` crop.

    The frame of FFHQ (Karras, Laine, Aila 2019, appendix A): with e the vector between the eyes and m from the
    eyes' middle to the mouth's, x = e - rot90(m) normalised to max(2 |e|, 1.8 |m|), centre = eyes + m / 10, and the
    square centre ± x ± rot90(x); here its half side |x| is multiplied by `framing` (1: FFHQ, smaller: tighter).
    """
    one, two = eye_centres(np.asarray(landmarks, np.float64))
    eyes, across = (one + two) / 2, two - one
    mouth = np.asarray(landmarks, np.float64)[list(MOUTH_CORNERS)].mean(0)
    down = mouth - eyes
    x = across - np.array([-down[1], down[0]])
    half = framing * max(2.0 * np.hypot(*across), 1.8 * np.hypot(*down))
    cos, sin = x / np.hypot(*x)
    scale = size / (2 * half)
    linear = scale * np.array([[cos, sin], [-sin, cos]])
    middle = (size - 1) / 2
    return np.hstack([linear, (middle - linear @ (eyes + 0.1 * down))[:, None]])


def invert(matrix: np.ndarray) -> np.ndarray:
    """The inverse (2, 3) of an affine map (2, 3)."""
    linear = np.linalg.inv(matrix[:, :2].astype(np.float64))
    return np.hstack([linear, -linear @ matrix[:, 2:].astype(np.float64)])


def enlargement(matrix: np.ndarray) -> np.ndarray:
    """How many times larger a crop (...) is than its frame in the photo, of the maps (..., 2, 3) to crops.

    >>> float(enlargement(np.array([[0.0, 2.0, 5.0], [-2.0, 0.0, 1.0]])))
    2.0
    """
    return np.sqrt(np.abs(np.linalg.det(matrix[..., :2].astype(np.float64))))


def compose(after: np.ndarray, before: np.ndarray) -> np.ndarray:
    """The affine map (2, 3) that does `before`, then `after`."""
    linear = after[:, :2] @ before[:, :2]
    return np.hstack([linear, after[:, :2] @ before[:, 2:] + after[:, 2:]])


def apply(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Points (n, 2) mapped by `matrix` (2, 3)."""
    return points @ matrix[:, :2].T + matrix[:, 2]


def warp(image: np.ndarray, matrix: np.ndarray, size: int) -> np.ndarray:
    """The crop, uint8 (size, size, 3), of a photo uint8 (h, w, 3); what lies beyond its borders is their mirror image.

    Each crop pixel is the mean of k x k bilinear samples, no further than one source pixel apart (no aliasing).
    """
    crop = _resample(image.astype(np.uint8, copy=False), invert(matrix), (0, 0, size, size), "reflect")
    return np.clip(np.rint(crop), 0, 255).astype(np.uint8)


def warp_mask(mask: np.ndarray, matrix: np.ndarray, size: int) -> np.ndarray:
    """The crop, uint8 (size, size) of 0 or 255, of a mask bool (h, w); beyond its borders there is no face."""
    values = _resample(mask.astype(np.uint8)[..., None], invert(matrix), (0, 0, size, size), "grid-constant")
    return np.where(values[..., 0] >= 0.5, 255, 0).astype(np.uint8)


def add_change(photo: np.ndarray, change: np.ndarray, matrix: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The photo uint8 (h, w, 3) plus a change of its crop, float (s, s, 3), where `matrix` took the crop from.

    The change alone is resampled, by cubic splines. It fades over about 3 % of the crop towards the edge of `mask`
    (s, s), 255 inside; photo pixels that are not wholly on the mask stay as they are.
    """
    box, weight = _weights(mask, matrix, photo.shape[:2])
    part = np.s_[box[1] : box[3], box[0] : box[2]]
    result = photo.copy()
    if weight.size:
        added = np.rint(weight * _resample(change, matrix.astype(np.float64), box, "nearest", order=3))
        result[part] = np.clip(photo[part] + added, 0, 255).astype(np.uint8)
    return result


def blend(photo: np.ndarray, picture: np.ndarray, matrix: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The photo uint8 (h, w, 3) that becomes a picture of its crop, float (s, s, 3), on the mask; as `add_change`."""
    box, weight = _weights(mask, matrix, photo.shape[:2])
    part = np.s_[box[1] : box[3], box[0] : box[2]]
    result = photo.copy()
    if weight.size:
        change = _resample(picture, matrix.astype(np.float64), box, "nearest", order=3) - photo[part]
        result[part] = np.clip(photo[part] + np.rint(weight * change), 0, 255).astype(np.uint8)
    return result


def _weights(
    mask: np.ndarray, matrix: np.ndarray, shape: tuple[int, ...]
) -> tuple[tuple[int, int, int, int], np.ndarray]:
    """The part of a photo that a crop's mask covers, and how far each of its pixels (h, w, 1) is on it: 0 to 1."""
    size = len(mask)
    left, top, right, bottom = box = _footprint(matrix, size, (shape[0], shape[1]))
    if right <= left or bottom <= top:
        return (0, 0, 0, 0), np.zeros((0, 0, 1), np.float32)
    weight = _resample(_feather(mask > 127, 0.03 * size)[..., None], matrix.astype(np.float64), box, "grid-constant")
    weight[~held(mask, matrix, (shape[0], shape[1]))[top:bottom, left:right]] = 0
    rows, columns = (np.flatnonzero(weight.any((axis, 2))) for axis in (1, 0))
    if not len(rows):
        return (0, 0, 0, 0), weight[:0, :0]
    first, last, start, end = (int(i) for i in (rows[0], rows[-1] + 1, columns[0], columns[-1] + 1))
    return (left + start, top + first, left + end, top + last), weight[first:last, start:end]


def fill(photo: np.ndarray, picture: np.ndarray, matrix: np.ndarray, hole: np.ndarray, where: np.ndarray) -> np.ndarray:
    """The photo uint8 (h, w, 3) with a hole filled by the picture of a crop, without a seam.

    Args:
        photo: no pixel of it in the hole counts.
        picture: float (s, s, 3), of the whole crop; it is resampled by cubic splines.
        matrix: (2, 3), where the crop was taken.
        hole: bool (h, w), not all of the crop.
        where: bool (h, w), the part of the hole that is filled, nowhere off the crop; see `held`.
    """
    rows, columns = (np.flatnonzero(where.any(axis)) for axis in (1, 0))
    result = photo.copy()
    if len(rows):
        top, left = max(0, rows[0] - 1), max(0, columns[0] - 1)
        box = int(left), int(top), int(min(columns[-1] + 2, photo.shape[1])), int(min(rows[-1] + 2, photo.shape[0]))
        part, here = np.s_[box[1] : box[3], box[0] : box[2]], where[box[1] : box[3], box[0] : box[2]]
        pixels = _resample(picture, matrix.astype(np.float64), box, "nearest", order=3)
        width = 0.06 * len(picture) / np.sqrt(abs(np.linalg.det(matrix[:, :2])))
        made = seamless(photo[part], pixels, hole[part], float(width))
        result[part][here] = np.clip(np.rint(made[here]), 0, 255)
    return result


def held(mask: np.ndarray, matrix: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """The pixels, bool (h, w), of a photo of `shape` that are wholly on the mask (s, s), 255 inside, of its crop."""
    left, top, right, bottom = box = _footprint(matrix, len(mask), shape)
    result = np.zeros(shape, bool)
    if right > left and bottom > top:
        on = (mask > 127).astype(np.uint8)[..., None]
        back = matrix.astype(np.float64)
        result[top:bottom, left:right] = _resample(on, back, box, "grid-constant", order=0)[..., 0] >= 1
    return result


def frame(matrix: np.ndarray, size: int) -> tuple[int, int, int, int]:
    """X, Y, width and height, px, of the smallest upright box of a photo that holds a crop of `size`.

    >>> frame(np.array([[0.5, 0, -6.25], [0, 0.5, -6.25]]), 16)
    (12, 12, 32, 32)
    """
    corners = np.rint(_corners(matrix, size) + 0.5).astype(int)
    (x, y), (right, bottom) = corners.min(0).tolist(), corners.max(0).tolist()
    return x, y, right - x, bottom - y


def seamless(photo: np.ndarray, picture: np.ndarray, hole: np.ndarray, width: float) -> np.ndarray:
    """The photo uint8 (h, w, 3), float32, with a hole filled by a picture of it, float (h, w, 3).

    In the hole it is the picture plus the difference that the nearest pixel outside has from it, smoothed, which fades
    within `width` px. A hole, bool (h, w), without any pixel outside is the picture.
    """
    if hole.all():
        return picture.astype(np.float32)
    depth, nearest = ndimage.distance_transform_edt(hole, return_indices=True)
    difference = photo.astype(np.float32) - picture
    carried = ndimage.gaussian_filter(difference[tuple(nearest)], (width / 8, width / 8, 0), mode="nearest")
    fade = np.clip(1 - (depth - 1) / max(width, 1.0), 0, 1)[..., None]
    return np.where(hole[..., None], picture + fade * carried, photo).astype(np.float32)


def _feather(mask: np.ndarray, width: float) -> np.ndarray:
    """0 outside the mask and next to its edge, and the crop's; rises to 1 within `width` px from there."""
    depth = ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    return np.clip((depth - 1.0) / max(width, 1.0), 0.0, 1.0).astype(np.float32)


def _corners(matrix: np.ndarray, size: int) -> np.ndarray:
    """The outer corners (4, 2) of a crop, px of its photo."""
    edge = size - 0.5
    return apply(invert(matrix), np.array([[-0.5, -0.5], [edge, -0.5], [-0.5, edge], [edge, edge]]))


def _footprint(matrix: np.ndarray, size: int, shape: tuple[int, int]) -> tuple[int, int, int, int]:
    corners = _corners(matrix, size)
    low, high = np.floor(corners.min(0)).astype(int), np.ceil(corners.max(0)).astype(int) + 1
    height, width = shape
    return max(0, low[0]), max(0, low[1]), min(width, high[0]), min(height, high[1])


def _resample(
    image: np.ndarray, back: np.ndarray, box: tuple[int, int, int, int], border: str, order: int = 1
) -> np.ndarray:
    """Float32 (bottom - top, right - left, c): the target pixels of `box`, read from `image` (h, w, c) by `back`.

    back: (2, 3) from target px to image px. order: of the splines between pixels of the image, 0: the nearest.
    The target is made in bands of rows of at most BAND_PX samples.
    """
    left, top, right, bottom = box
    k = max(1, int(np.ceil(np.sqrt(abs(np.linalg.det(back[:, :2]))) - 1e-6)))
    width = right - left
    band = max(1, BAND_PX // (width * k * k))
    out = np.empty((bottom - top, width, image.shape[2]), np.float32)
    for first in range(0, bottom - top, band):
        rows = min(band, bottom - top - first)
        samples = _sample(image, back, (left, top + first), (rows, width), k, border, order)
        out[first : first + rows] = samples.reshape(rows, k, width, k, -1).mean((1, 3))
    return out


def _sample(
    image: np.ndarray,
    back: np.ndarray,
    corner: tuple[int, int],
    shape: tuple[int, int],
    k: int,
    border: str,
    order: int,
) -> np.ndarray:
    """Samples float32 (k rows, k columns, c) on a k times finer grid that starts at target px `corner`."""
    first = np.array(corner, np.float64) + 0.5 / k - 0.5  # the first of k sub-pixel centres of a pixel
    start = back[:, :2] @ first + back[:, 2]
    rows_columns = back[::-1, 1::-1] / k  # ndimage counts (y, x)
    fine = (shape[0] * k, shape[1] * k)
    planes = [
        ndimage.affine_transform(
            image[..., c], rows_columns, start[::-1], fine, np.float32, order=order, mode=border, prefilter=order > 1
        )
        for c in range(image.shape[2])
    ]
    return np.stack(planes, -1)

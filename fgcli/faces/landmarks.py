"""The 68-point landmark convention (iBUG 300-W): which index lies where.

"Right" and "left" here are sides of the image: index 36 is the leftmost eye corner in it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

COUNT = 68
JAW = slice(0, 17)
EYE_ONE, EYE_TWO = slice(36, 42), slice(42, 48)
NOSE_BRIDGE, NOSE_BASE = 27, 33
MOUTH_CORNERS = (48, 54)


def _mirror_order() -> np.ndarray:
    order = np.arange(COUNT)
    order[0:17] = order[0:17][::-1]
    order[17:27] = order[17:27][::-1]
    order[31:36] = order[31:36][::-1]
    order[36:48] = [45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40]
    order[48:55] = order[48:55][::-1]
    order[55:60] = order[55:60][::-1]
    order[60:65] = order[60:65][::-1]
    order[65:68] = order[65:68][::-1]
    return order


MIRROR = _mirror_order()
"""Landmark i of a face is landmark MIRROR[i] of its mirror image."""


@dataclass(frozen=True)
class Face:
    """A face found in a photo.

    box: left, top, right, bottom in px. landmarks: float32 (68, 2), px; the centre of the top left pixel is (0, 0).
    score: the detector's, higher is surer. flaw: why the landmarks are not to be trusted, one clause, or "".
    sure: the detector would hardly take anything but an upright face for one.
    """

    box: tuple[float, float, float, float]
    landmarks: np.ndarray
    score: float
    flaw: str = ""
    sure: bool = True

    @property
    def area(self) -> float:
        """Of the box, px²."""
        left, top, right, bottom = self.box
        return max(0.0, right - left) * max(0.0, bottom - top)


def eye_centres(landmarks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Centres (2,) of the two eyes, left one of the image first."""
    return landmarks[EYE_ONE].mean(0), landmarks[EYE_TWO].mean(0)


def eye_distance(landmarks: np.ndarray) -> float:
    """Distance of the eye centres, px."""
    one, two = eye_centres(landmarks)
    return float(np.hypot(*(two - one)))


def upright(landmarks: np.ndarray) -> bool:
    """Whether the eyes lie above the mouth."""
    return bool(landmarks[EYE_ONE.start : EYE_TWO.stop, 1].mean() < landmarks[list(MOUTH_CORNERS), 1].mean())


def turn(landmarks: np.ndarray) -> float:
    """How far the head is turned, in [-1, 1]: 0 frontal, ±1 the bridge of the nose lies on the outline (a profile)."""
    bridge = landmarks[NOSE_BRIDGE]
    one, two = np.hypot(*(landmarks[0] - bridge)), np.hypot(*(landmarks[16] - bridge))
    return float((one - two) / max(one + two, 1e-9))


Box = tuple[float, float, float, float]


def averaged(image: np.ndarray, box: Box, predict: Callable[[np.ndarray, Box], np.ndarray]) -> tuple[np.ndarray, float]:
    """Landmarks (68, 2), the mean of those of the image and of its mirror image, and how far the two disagree.

    Args:
        image: uint8 (h, w, 3).
        box: left, top, right, bottom of the face, px, the last two inside it.
        predict: from an image (contiguous) and a box in it to landmarks (68, 2).

    Returns:
        The landmarks, and the mean distance between the two sets in eye distances.
    """
    last = image.shape[1] - 1
    left, top, right, bottom = box
    one = predict(image, box)
    two = predict(np.ascontiguousarray(image[:, ::-1]), (last - right, top, last - left, bottom))[MIRROR]
    two = np.stack([last - two[:, 0], two[:, 1]], 1)
    points = (one + two) / 2
    return points, float(np.hypot(*(one - two).T).mean() / max(eye_distance(points), 1e-9))


def flaw(landmarks: np.ndarray, doubt: float) -> str:
    """Why landmarks (68, 2) are not to be trusted, given what `averaged` says of them; "" if they are."""
    if doubt > 0.10:
        return f"landmarks disagree with those of the mirror image by {doubt:.0%} of the eye distance"
    if abs(turn(landmarks)) > 0.55:
        return "head turned too far (profile)"
    return ""

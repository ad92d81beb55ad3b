"""Paths between two codes."""

from __future__ import annotations

import numpy as np


def linear(a: np.ndarray, b: np.ndarray, t: float) -> np.ndarray:
    """(1 - t) a + t b."""
    return (1 - t) * a + t * b


def slerp(a: np.ndarray, b: np.ndarray, t: float) -> np.ndarray:
    """Great circle (Shoemake 1985): sin((1 - t) w) / sin w a + sin(t w) / sin w b, w the angle between the codes.

    Codes in one line have no great circle of their own: there it is linear.
    """
    x, y = a.ravel(), b.ravel()
    cosine = np.clip(x @ y / max(np.linalg.norm(x) * np.linalg.norm(y), 1e-12), -1, 1)
    angle = np.arccos(cosine)
    if np.sin(angle) < 1e-6:
        return linear(a, b, t)
    return ((np.sin((1 - t) * angle) * a + np.sin(t * angle) * b) / np.sin(angle)).astype(a.dtype)


PATHS = {"linear": linear, "slerp": slerp}

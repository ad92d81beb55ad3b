"""What a segmenter sees: a photo, the face chosen in it, and the crop to be masked."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fgcli.faces.align import apply, warp


@dataclass(frozen=True)
class View:
    """photo: uint8 (h, w, 3). landmarks: (68, 2), photo px. matrix: (2, 3), photo px to crop px. size: crop px.

    given: bool (h, w) mask that came with the photo, or None.
    """

    photo: np.ndarray
    landmarks: np.ndarray
    matrix: np.ndarray
    size: int
    given: np.ndarray | None = None

    def crop(self, size: int | None = None) -> np.ndarray:
        """The crop, uint8 (size, size, 3), at its own or another size."""
        size = size or self.size
        return warp(self.photo, rescaled(self.matrix, self.size, size), size)

    def resized(self, size: int) -> tuple[np.ndarray, np.ndarray]:
        """The crop at another size, and its landmarks (68, 2) there."""
        return self.crop(size), apply(rescaled(self.matrix, self.size, size), self.landmarks)

    def crop_landmarks(self) -> np.ndarray:
        """The landmarks (68, 2) in crop px."""
        return apply(self.matrix, self.landmarks)


def rescaled(matrix: np.ndarray, size: int, to: int) -> np.ndarray:
    """The map (2, 3) to a crop of `to` px with the same frame as that of `size` px."""
    ratio = to / size
    scaled = ratio * matrix
    scaled[:, 2] += (ratio - 1) / 2  # pixel centres lie half a pixel inside the edges
    return scaled

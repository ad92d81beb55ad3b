"""Face masks that came with the photos."""

from __future__ import annotations

import numpy as np

from fgcli.errors import FgError
from fgcli.faces.align import warp_mask
from fgcli.faces.view import View


class Given:
    """The mask file of each photo, cut out as the photo is."""

    def segment(self, view: View) -> np.ndarray:
        """Mask uint8 (size, size), 255 on the face.

        Raises:
            FgError: the photo has no mask.
        """
        if view.given is None:
            raise FgError("no mask file for this photo; set preprocess.segmenter.name=landmark_hull")
        return warp_mask(view.given, view.matrix, view.size)

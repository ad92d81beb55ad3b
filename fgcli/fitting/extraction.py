"""From crops with landmarks to the rows of flame.h5: guess, refine, light and albedo, and how well it went."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fgcli.fitting.appearance import is_grey, per_row, solve
from fgcli.fitting.extract import status
from fgcli.fitting.landmark_errors import LandmarkErrors
from fgcli.fitting.landmark_fit import LandmarkFit, frontal, residual
from fgcli.fitting.photometric_fit import PhotometricFit, reduced
from fgcli.heads.camera import to_ndc, to_pixels
from fgcli.heads.face_mask import face_mask
from fgcli.heads.head import Head
from fgcli.heads.parameters import Parameters
from fgcli.heads.render import Render, render

MOST = 1e4
"""No parameter of a face is larger."""
GROUP = 16
"""Faces rendered together: what the cache holds."""


@dataclass(frozen=True)
class Seen:
    """What is known of n crops of faces.

    pictures: (n, 3, h, w). face: (n, 1, h, w). raw: (n, 68, 2) landmarks, px; NaN where there are none. found: the same
    in [-1, 1], somewhere where there are none. marks: less the analyser's bias.
    """

    pictures: Tensor
    face: Tensor
    raw: Tensor
    found: Tensor
    marks: Tensor


Work = Callable[[Parameters, Tensor, Tensor, Tensor], tuple[Parameters, Tensor]]
"""From parameters, images, masks and landmarks of a few faces to parameters, and the colour error (n,)."""


@dataclass(frozen=True)
class Extraction:
    """How faces become parameters.

    Attributes:
        head: whose parameters.
        extractor: makes the first guess, see EXTRACTORS.
        landmarks: moves the geometry onto landmarks; None: it stays as guessed.
        photometric: then moves it by pixels; None: it does not.
        errors: of the analyser's landmarks; none for exact ones.
    """

    head: Head
    extractor: Any
    landmarks: LandmarkFit | None
    photometric: PhotometricFit | None
    errors: LandmarkErrors

    def fit(
        self, images: np.ndarray, masks: np.ndarray, landmarks: np.ndarray, shape: np.ndarray | None = None
    ) -> dict[str, np.ndarray]:
        """Arrays of flame.h5 for uint8 images (n, h, w, 3), masks (n, h, w) and landmarks (n, 68, 2), px.

        shape: (n, 100) that is known and stays; None: it is found, too.
        """
        seen = self._seen(images, masks, landmarks)
        held = None if shape is None else torch.tensor(shape, device=seen.pictures.device)
        apart = self.errors.around(seen.found)
        with torch.no_grad():
            plain = with_shape(frontal(self.head, seen.marks), held)
            p = with_shape(self.extractor.guess(seen.pictures, seen.marks), held)
            sane = finite(p)
            p = where(sane, p, plain)
            if self.landmarks is not None:
                p = sensible(self.head, p, plain, seen.marks)
                p = self.landmarks(self.head, seen.marks, p, covariance=apart, shape=held)
                sane &= finite(p)
                p = where(sane, p, plain)  # one bad row must not stop the others
        p, error = self._by_groups(partial(self._group, held=held is not None), p, seen)
        return self._rows(p, sane, error, seen)

    def judged(
        self, images: np.ndarray, masks: np.ndarray, landmarks: np.ndarray, **known: np.ndarray
    ) -> dict[str, np.ndarray]:
        """The same arrays of parameters that are known, such as smoothed ones, by the fields of `Parameters`."""
        seen = self._seen(images, masks, landmarks)
        p = Parameters.from_arrays(known).to(seen.pictures.device)
        p, error = self._by_groups(self._compared, p, seen)
        return self._rows(p, finite(p), error, seen)

    def _seen(self, images: np.ndarray, masks: np.ndarray, landmarks: np.ndarray) -> Seen:
        size, device = images.shape[1], self.head.template.device
        raw = torch.tensor(landmarks, device=device)
        known = raw.isfinite().flatten(1).all(1) & ((raw[:, 36] - raw[:, 45]).norm(dim=1) > 1e-3 * size)
        found = to_ndc(torch.where(known[:, None, None], raw, _anywhere(size).to(raw)), size)
        return Seen(
            torch.tensor(images, device=device).movedim(3, 1).float() / 255,
            torch.tensor(masks, device=device)[:, None].float() / 255,
            torch.where(known[:, None, None], raw, torch.nan),
            found,
            self.errors.corrected(found),
        )

    def _rows(self, p: Parameters, sane: Tensor, error: Tensor, seen: Seen) -> dict[str, np.ndarray]:
        """Arrays of flame.h5 of rows, of which those that are not sane failed."""
        size = seen.pictures.shape[-1]
        with torch.no_grad():
            own, off = residual(self.head, p, seen.marks)
        nothing = Parameters.zeros(len(p), own.device).replace(camera=torch.full_like(p.camera, torch.nan))
        told = status(where(sane, p, nothing), off, seen.raw)
        arrays = p.to_arrays() | {"landmarks2d": to_pixels(own, size).cpu().numpy(), "residuals": off.cpu().numpy()}
        return arrays | {"colour_error": error.cpu().numpy(), "status": np.array(told)}

    def _by_groups(self, work: Work, p: Parameters, seen: Seen) -> tuple[Parameters, Tensor]:
        """What `work` makes of the parameters, and the colour error (n,) on the face; NaN of a head without texture."""
        if not len(self.head.uv):
            return p, seen.pictures.new_full((len(p),), torch.nan)
        images, face = reduced(seen.pictures), reduced(seen.face).round()
        parts = [
            work(p.rows(part), images[part], face[part], seen.marks[part])
            for part in torch.arange(len(images)).split(GROUP)
        ]
        joined = {k: torch.cat([getattr(row, k) for row, _ in parts]) for k in vars(p)}
        return Parameters(**joined), torch.cat([error for _, error in parts])

    def _group(
        self, p: Parameters, images: Tensor, face: Tensor, marks: Tensor, held: bool
    ) -> tuple[Parameters, Tensor]:
        """Light and albedo, refined geometry if wanted, but for a shape that is held; and the colour error."""
        with torch.no_grad():
            p = self._lit(p, images, face)
        if self.photometric is not None:
            photometric = replace(self.photometric, shape=0) if held else self.photometric
            p = photometric(self.head, images, face, marks, p)
        return self._compared(p, images, face, marks)

    @torch.no_grad()
    def _compared(self, p: Parameters, images: Tensor, face: Tensor, marks: Tensor) -> tuple[Parameters, Tensor]:
        """The same parameters, and the colour error (n,) on the face."""
        drawn = drawing(self.head, p, images.shape[-1])
        seen = face * face_mask(self.head, drawn)
        shown = drawn.image.clamp(0, 1)
        shown = torch.where(per_row(is_grey(images, face), shown), shown.mean(1, keepdim=True), shown)
        error = (shown - images).square().mean(1, keepdim=True) * seen
        return p, (error.sum((1, 2, 3)) / seen.sum((1, 2, 3))).sqrt()  # NaN: none of the face is in the picture

    def _lit(self, p: Parameters, images: Tensor, face: Tensor) -> Parameters:
        drawn = drawing(self.head, p, images.shape[-1])
        return solve(self.head, images, drawn, face * face_mask(self.head, drawn), p)


def with_shape(p: Parameters, shape: Tensor | None) -> Parameters:
    """The parameters with another shape (n, 100), if one is given."""
    return p if shape is None else p.replace(shape=shape)


def drawing(head: Head, p: Parameters, size: int) -> Render:
    """The head of each row, textured, under its light."""
    texture = head.albedo(p.texture) if len(head.uv) else None
    return render(head, head.vertices(p.shape, p.expression, p.pose), p.camera, size, texture, p.light)


def sensible(head: Head, p: Parameters, plain: Parameters, marks: Tensor) -> Parameters:
    """The guess, but the plain start where the guess lies further from the landmarks than that."""
    return where(residual(head, p, marks)[1] <= residual(head, plain, marks)[1], p, plain)


def where(rows: Tensor, one: Parameters, other: Parameters) -> Parameters:
    """Rows (n,) of one, else of the other."""
    return Parameters(**{k: torch.where(per_row(rows, v), v, getattr(other, k)) for k, v in vars(one).items()})


def finite(p: Parameters) -> Tensor:
    """Which rows (n,) are numbers throughout, of a size that a picture can have."""
    return torch.stack([(v.flatten(1).abs() < MOST).all(1) for v in vars(p).values()]).all(0)


def _anywhere(size: int) -> Tensor:
    """Landmarks that are finite and apart: a stand-in for rows that have none."""
    return torch.rand(68, 2, generator=torch.Generator().manual_seed(0)) * size

"""Linear autoencoders: their optimum in closed form, and one that starts there and learns on."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

CHUNK = 1000
"""Images in memory at a time, where there are many."""
NOISE = 1e-6
"""Eigenvalues below this share of the largest are rounding errors of float32: their components stay 0."""


def principal_components(
    images: np.ndarray, codes: int, rows: np.ndarray | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Average (p), components (codes, p) and standard deviations (codes) of images and their mirror images.

    With X the centred rows in [-1, 1], the eigenvectors of X^T X (p x p) are those of the covariance, p = c h w, and
    those of X X^T (2n x 2n) give them: the smaller one is solved. Where there are fewer directions than codes, the rest
    are zeros of deviation 1.

    Args:
        images: (n, h, w, c) uint8; where they are fewer than values, in memory four times over as float32.
        codes: how many.
        rows: those of them that count; all of them if there are none.
    """
    rows = np.arange(len(images)) if rows is None else rows
    n, p = 2 * len(rows), int(np.prod(images.shape[1:]))
    if n > p:
        average, gram = _moments(images, rows)
        values, vectors = torch.linalg.eigh(gram)
    else:
        some = _flat(images[rows])
        x = torch.cat([some, some[:, _mirror(images)]])
        average = x.mean(0)
        x -= average
        values, vectors = torch.linalg.eigh((x @ x.T).double())
    k = min(codes, int((values > NOISE * values[-1]).sum()))
    values, vectors = values.flip(0)[:k], vectors.flip(1)[:, :k].float()
    components, scale = torch.zeros(codes, p), torch.ones(codes)
    components[:k] = vectors.T if n > p else nn.functional.normalize(vectors.T @ x)
    scale[:k] = (values / n).sqrt().float()
    return average, components, scale


def _moments(images: np.ndarray, rows: np.ndarray) -> tuple[Tensor, Tensor]:
    """Average (p) and X^T X (p, p) float64 of some images and their mirror images, which is that of the images and, in
    mirrored places, once more; CHUNK at a time.
    """
    mirror, parts = _mirror(images), [rows[i : i + CHUNK] for i in range(0, len(rows), CHUNK)]
    total = torch.zeros(len(mirror), dtype=torch.float64)
    for part in parts:  # into one place: small results kept between large ones would leave holes that nothing fits in
        total += _flat(images[part]).sum(0, dtype=torch.float64)
    average = ((total + total[mirror]) / (2 * len(rows))).float()
    gram = torch.zeros(len(average), len(average), dtype=torch.float64)
    for part in parts:
        x = _flat(images[part]) - average
        gram += x.T @ x
    return average, gram + gram[mirror][:, mirror]


def _flat(images: np.ndarray) -> Tensor:
    """uint8 (n, h, w, c) as (n, p) in [-1, 1], channels first."""
    return torch.from_numpy(images.astype(np.float32) / 127.5 - 1).permute(0, 3, 1, 2).flatten(1)


def _mirror(images: np.ndarray) -> Tensor:
    """(p) the place of each value in the mirror image."""
    _, h, w, c = images.shape
    return torch.arange(c * h * w).reshape(c, h, w).flip(2).flatten()


class LinearPath(nn.Module):
    """z = (x - average) E^T and y = average + z D, both trained, from the principal components on.

    The optimum of a linear VAE is probabilistic PCA (Lucas et al. 2019, "Don't Blame the ELBO!"): what is linear need
    not be learned. Rows of E and D are kept as unit-size parameters times a fixed gain, so that one step size of Adam
    fits them all.

    Args:
        image_shape: (c, h, w).
        codes: code size d.
    """

    average: Tensor
    gains: Tensor

    def __init__(self, image_shape: tuple[int, int, int], codes: int) -> None:
        super().__init__()
        pixels = int(np.prod(image_shape))
        self.image_shape = image_shape
        self.analysis = nn.Parameter(torch.zeros(codes, pixels))
        self.synthesis = nn.Parameter(torch.zeros(codes, pixels))
        self.register_buffer("average", torch.zeros(pixels))
        self.register_buffer("gains", torch.ones(2, codes, 1))

    @torch.no_grad()
    def start(self, images: np.ndarray) -> None:
        """Becomes the eigenfaces of uint8 images (n, h, w, c); codes get unit variance."""
        average, components, scale = principal_components(images, len(self.analysis))
        unit = components.shape[1] ** 0.5
        self.average.copy_(average)
        self.analysis.copy_(components * unit)
        self.synthesis.copy_(components * unit)
        self.gains.copy_(torch.stack([1 / scale, scale])[..., None] / unit)

    def encode(self, images: Tensor) -> Tensor:
        """Codes (n, d) of images (n, c, h, w); float32, whatever the autocast."""
        with torch.autocast(images.device.type, enabled=False):
            return (images.float().flatten(1) - self.average) @ (self.analysis * self.gains[0]).T

    def decode(self, codes: Tensor) -> Tensor:
        """Images of codes (n, d); float32, not clamped."""
        with torch.autocast(codes.device.type, enabled=False):
            flat = self.average + codes.float() @ (self.synthesis * self.gains[1])
        return flat.unflatten(1, self.image_shape)

"""Fréchet distance of the features of two sets of images."""

from __future__ import annotations

from abc import abstractmethod
from collections import defaultdict
from typing import Any, ClassVar

import numpy as np
import scipy.linalg

from fgcli import assets
from fgcli.backbones import inception
from fgcli.backbones.dlib_embedding import DlibEmbedding
from fgcli.errors import FgError


def frechet(a: np.ndarray, b: np.ndarray) -> float:
    """Fréchet distance of the Gaussians fitted to rows (n, d) and (m, d), in float64.

    |ma - mb|^2 + tr(Sa) + tr(Sb) - 2 tr((Sa Sb)^(1/2)), with unbiased covariances.

    Raises:
        FgError: fewer than two rows in a set.
    """
    if min(len(a), len(b)) < 2:
        raise FgError(f"Fréchet distance: expected at least 2 images in each set, found {len(a)} and {len(b)}")
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    gap = a.mean(0) - b.mean(0)
    a = (a - a.mean(0)) / np.sqrt(len(a) - 1)
    b = (b - b.mean(0)) / np.sqrt(len(b) - 1)
    return float(gap @ gap + (a * a).sum() + (b * b).sum() - 2 * trace_of_root(a, b))


def trace_of_root(a: np.ndarray, b: np.ndarray) -> float:
    """tr((Sa Sb)^(1/2)) with Sa = a^T a and Sb = b^T b, of rows (n, d) and (m, d).

    With more rows than features the covariances are positive definite and the eigenvalues of their product are the
    quickest; else the singular values of a b^T are (of triangular factors where those are smaller), and they are
    exact where a covariance is singular: the root of a zero eigenvalue's rounding error is not small.
    """
    if min(len(a), len(b)) > a.shape[1]:
        try:
            return _by_eigenvalues(a, b)
        except scipy.linalg.LinAlgError:  # features that depend on each other
            pass
    return _by_singular_values(a, b)


def _by_eigenvalues(a: np.ndarray, b: np.ndarray) -> float:
    values = scipy.linalg.eigh(b.T @ b, a.T @ a, type=3, eigvals_only=True)
    return float(np.sqrt(np.maximum(values, 0)).sum())


def _by_singular_values(a: np.ndarray, b: np.ndarray) -> float:
    a, b = (scipy.linalg.qr(x, mode="r")[0][: x.shape[1]] if len(x) > x.shape[1] else x for x in (a, b))
    return float(scipy.linalg.svdvals(a @ b.T).sum())


class Frechet:
    """Fréchet distances between named sets of images; a subclass extracts the features."""

    kind: ClassVar[str] = "distribution"
    name: str
    features: int

    def __init__(self) -> None:
        self._features: dict[str, list[np.ndarray]] = defaultdict(list)

    @property
    @abstractmethod
    def protocol(self) -> dict[str, Any]:
        """What travels with the number."""

    @abstractmethod
    def extract(self, images: np.ndarray) -> np.ndarray:
        """Features (n, d) of uint8 images (n, h, w, 3)."""

    def update(self, name: str, images: np.ndarray) -> None:
        """Adds uint8 images (n, h, w, 3) to the set `name`."""
        self._features[name].append(self.extract(images))

    @property
    def values(self) -> dict[str, np.ndarray]:
        """Features (n, d) of each set."""
        return {name: np.concatenate(parts) for name, parts in self._features.items()}

    def compute(self, name: str, reference: str) -> float:
        """The distance of the set `name` from the set `reference`.

        Raises:
            FgError: fewer than two images in a set.
        """
        return frechet(*(np.concatenate(self._features[n]) for n in (reference, name)))

    def caveat(self, rows: int) -> str:
        """What to think of a set of so many images."""
        return f"biased: n = {rows} < {self.features} features" if rows < self.features else f"n = {rows}"


DISTANCE = "Fréchet distance of Gaussians, float64, unbiased covariances"


class FrechetDlibEmbedding(Frechet):
    """Of dlib's face embeddings: sees whose face it is and little else. Not FID.

    Args:
        embedder: embeds aligned faces.

    Raises:
        FgError: dlib's model is not installed or damaged.
    """

    name, features = "frechet_dlib_embedding", 128

    def __init__(self, embedder: DlibEmbedding) -> None:
        super().__init__()
        embedder.verify(self.name)
        self.embedder = embedder

    @property
    def protocol(self) -> dict[str, Any]:
        """Protocol."""
        return {"value": DISTANCE + "; not comparable with FID", **self.embedder.protocol}

    def extract(self, images: np.ndarray) -> np.ndarray:
        """Embeddings (n, 128)."""
        return self.embedder(images)


class FIDInception(Frechet):
    """Of Inception-v3's pool3 features: FID.

    Raises:
        FgError: the network's weights are not imported.
    """

    name, features = "fid_inception", inception.FEATURES

    def __init__(self) -> None:
        super().__init__()
        self.network = inception.load()

    @property
    def protocol(self) -> dict[str, Any]:
        """Protocol."""
        return {
            "value": DISTANCE,
            "features": "Inception-v3 of 2015, pool3, 2048-d, by torch-fidelity; resized to 299 px as TensorFlow 1 did",
            "weights_sha256": assets.ASSETS["inception"].sha256,
        }

    def extract(self, images: np.ndarray) -> np.ndarray:
        """pool3 features (n, 2048)."""
        return inception.features(self.network, images)

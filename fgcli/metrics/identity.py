"""Is it still the same person: dlib embeddings of the original and of the reconstruction."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from fgcli.backbones.dlib_embedding import THRESHOLD, DlibEmbedding
from fgcli.metrics.neighbours import squared_distances
from fgcli.metrics.paired import COMPOSITE, Paired


class Identity(Paired):
    """Cosine similarity of the two embeddings; 1 is the same face.

    Args:
        embedder: embeds aligned faces; it knows images that it has met before.

    Raises:
        FgError: dlib's model is not installed or damaged.
    """

    name = "identity"
    value: ClassVar[str] = "cosine similarity of the face embeddings"
    better: ClassVar[str] = "higher"

    def __init__(self, embedder: DlibEmbedding) -> None:
        super().__init__()
        embedder.verify(self.name)
        self.embedder = embedder

    @property
    def protocol(self) -> dict[str, Any]:
        """Protocol."""
        about = {"value": self.value, "better": self.better, "images": COMPOSITE, "average": "mean over images"}
        return {**about, **self.embedder.protocol}

    def score(self, reference: np.ndarray, composite: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """The value of each pair."""
        both = self.embedder(np.concatenate([reference, composite])).astype(np.float64)
        return self.compare(both[: len(reference)], both[len(reference) :])

    def compare(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Cosine similarity of rows (n, 128)."""
        return (a * b).sum(1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1))


class IdentityDistance(Identity):
    """Euclidean distance of the two embeddings; 0 is the same face."""

    name = "identity_distance"
    value = "Euclidean distance of the face embeddings"
    better = "lower"

    def compare(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Euclidean distance of rows (n, 128)."""
        return np.linalg.norm(a - b, axis=1)


class IdentitySame(IdentityDistance):
    """Share of reconstructions that dlib's threshold takes for the same person."""

    name = "identity_same"
    value = f"share of pairs with a distance below {THRESHOLD}, dlib's published threshold for one person"
    better = "higher"

    def compare(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """1 where rows (n, 128) are nearer than the threshold, else 0."""
        return (super().compare(a, b) < THRESHOLD).astype(np.float64)


def verification(embeddings: np.ndarray, people: np.ndarray) -> dict[str, float | int]:
    """How often THRESHOLD errs on pairs of real faces (n, 128) of people (n,).

    refused: share of the pairs of one person that are not nearer. accepted: share of the pairs of two that are.
    """
    upper = np.triu_indices(len(people), 1)
    near = (squared_distances(embeddings.astype(np.float64), embeddings.astype(np.float64)) < THRESHOLD**2)[upper]
    same = (people[:, None] == people)[upper]
    found: dict[str, float | int] = {"pairs_of_one_person": int(same.sum()), "pairs_of_two_people": int((~same).sum())}
    if same.any():
        found["refused"] = float((~near[same]).mean())
    if not same.all():
        found["accepted"] = float(near[~same].mean())
    return found

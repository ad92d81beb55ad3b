"""Scores of faces: an attribute, on what is still the same face, and how far a face is from another."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from scipy.special import expit, logit

from fgcli.backbones import IdentityJudge
from fgcli.classifiers.judges import Judges
from fgcli.config.fields import Part, Positive
from fgcli.pixels import tensor
from fgcli.search import Item, Score


class Attribute(Score):
    """Log-odds of an attribute by the judge of pictures, which unlike its probability has no end.

    A face is valid that but for the attribute is still the start's: the same person, and the judge's probabilities of
    other attributes nearly the same, as certificates of `fg edit` have it.

    Args:
        judges: of judges.h5. embedder: of aligned faces.
        attribute: one of the judges'.
        same_person: whether the person must stay the same.
        identity_below: distance of embeddings below which that is so; null: the embedder's own threshold.
        others_below: change of the probability of any other attribute that is no more borne; null: any is.
    """

    def __init__(
        self,
        judges: Judges,
        embedder: IdentityJudge | None,
        attribute: str,
        same_person: bool = True,
        identity_below: Positive | None = None,
        others_below: Part | None = 0.25,
    ) -> None:
        if attribute not in judges.names:
            raise ValueError(f"expected an attribute of {', '.join(judges.names)}, found {attribute!r}")
        self.judge, self.others_below = judges.images, others_below
        others = [name for name in judges.names if name != attribute]
        self.order = [judges.names.index(name) for name in (attribute, *others)]
        self.same = Identity(embedder) if same_person else None
        self.below = identity_below or (embedder.below if embedder else 0.0)
        self.names = [attribute, *others, *(["identity"] if same_person else [])]
        self.starts = same_person or others_below is not None

    def measure(self, items: Sequence[Item], start: Item) -> np.ndarray:
        """(n, m) of pictures uint8 (h, w, 3): log-odds of the attribute, of the others, and the person's distance."""
        with torch.no_grad():
            odds = self.judge(tensor(np.stack(items)))[:, self.order].double().numpy()  # type: ignore[arg-type]
        return np.concatenate([odds, *([self.same.measure(items, start)] if self.same else [])], 1)

    def limits(self, start: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        """(m) each."""
        low, high = super().limits(start)
        if self.others_below is not None and start is not None:
            others = slice(1, len(self.order))
            was = expit(start[others])
            low[others] = logit(np.maximum(was - self.others_below, 0))
            high[others] = logit(np.minimum(was + self.others_below, 1))
        if self.same:
            high[-1] = self.below
        return low, high


class Identity(Score):
    """The distance of embeddings from the start's, by the judge of identity.

    Args:
        embedder: of aligned faces.
    """

    names = ("identity",)
    starts = True

    def __init__(self, embedder: IdentityJudge | None) -> None:
        if embedder is None:
            raise ValueError("expected faces to tell people apart, found pictures taken whole; choose another score")
        self.embedder = embedder

    def measure(self, items: Sequence[Item], start: Item) -> np.ndarray:
        """(n, 1) of faces uint8 (h, w, 3)."""
        embedded = self.embedder(np.stack([start, *items]))  # type: ignore[list-item]
        return self.embedder.distance(embedded[1:], embedded[:1]).astype(np.float64)[:, None]

"""Scores of faces: an attribute, within the same person if asked for, and how far a face is from that person."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from fgcli.backbones import IdentityJudge
from fgcli.classifiers.judges import Judges
from fgcli.config.fields import Positive
from fgcli.pixels import tensor
from fgcli.search import Item, Score, Scored


class Attribute(Score):
    """Log-odds of an attribute by the judge of pictures, which unlike its probability has no end.

    A face is valid that but for the attribute is still the start's: the same person, and the judge's probabilities of
    other attributes nearly the same, as certificates of `fg edit` have it. One beyond these limits loses (gains, where
    little is wanted) `weight` for each unit that it is beyond the worse of them, so that the search sees on which side of
    them the better ones lie.

    Args:
        judges: of judges.h5. embedder: of aligned faces. sign: 1 where much of it is wanted, -1 where little.
        attribute: one of the judges'.
        same_person: whether the person must stay the same.
        identity_below: distance of embeddings below which that is so; null: the embedder's own threshold.
        others_below: change of the probability of any other attribute that is no more borne; null: any is.
        weight: log-odds for each unit beyond.
    """

    def __init__(
        self,
        judges: Judges,
        embedder: IdentityJudge | None,
        sign: int,
        attribute: str,
        same_person: bool = True,
        identity_below: Positive | None = None,
        others_below: Positive | None = 0.25,
        weight: Positive = 50.0,
    ) -> None:
        if attribute not in judges.names:
            raise ValueError(f"expected an attribute of {', '.join(judges.names)}, found {attribute!r}")
        self.judge, self.place = judges.images, judges.names.index(attribute)
        self.same = Identity(embedder) if same_person else None
        self.below = identity_below or (embedder.below if embedder else 0.0)
        self.others_below, self.penalty = others_below, sign * weight
        self.starts = same_person or others_below is not None

    def __call__(self, items: Sequence[Item], start: Item) -> Scored:
        """Of pictures uint8 (h, w, 3)."""
        pictures = np.stack([*([start] if self.starts else []), *items])  # type: ignore[list-item]
        with torch.no_grad():
            odds = self.judge(tensor(pictures)).double().numpy()
        said = 1 / (1 + np.exp(-odds))
        value, measures = odds[-len(items) :, self.place], {"probability": said[-len(items) :, self.place]}
        excess = np.full(len(items), -np.inf)
        if self.same:
            measures["identity"] = self.same(items, start).values
            excess = np.maximum(excess, measures["identity"] - self.below)
        if self.others_below is not None:
            moved = np.delete(np.abs(said[1:] - said[0]), self.place, 1)
            measures["others_moved"] = moved.max(1, initial=0)
            excess = np.maximum(excess, measures["others_moved"] - self.others_below)
        return Scored(value - self.penalty * np.maximum(excess, 0), excess < 0, measures)


class Identity(Score):
    """The distance of embeddings from the start's, by the judge of identity.

    Args:
        embedder: of aligned faces.
    """

    starts = True

    def __init__(self, embedder: IdentityJudge | None) -> None:
        if embedder is None:
            raise ValueError("expected faces to tell people apart, found pictures taken whole; choose another score")
        self.embedder = embedder

    def __call__(self, items: Sequence[Item], start: Item) -> Scored:
        """Of faces uint8 (h, w, 3), all valid."""
        embedded = self.embedder(np.stack([start, *items]))  # type: ignore[list-item]
        values = self.embedder.distance(embedded[1:], embedded[:1]).astype(np.float64)
        return Scored(values, np.ones(len(items), bool), {"identity": values})

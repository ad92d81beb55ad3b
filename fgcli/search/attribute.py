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

    Another person than the start's is not valid, and loses (gains, where little is wanted) `weight` for each unit of
    distance beyond the limit, so that the search sees on which side of it the better ones lie.

    Args:
        judges: of judges.h5. embedder: of aligned faces. sign: 1 where much of it is wanted, -1 where little.
        attribute: one of the judges'.
        same_person: whether the person must stay the same.
        identity_below: distance of embeddings below which that is so; null: the embedder's own threshold.
        weight: log-odds for each unit of distance beyond it.
    """

    def __init__(
        self,
        judges: Judges,
        embedder: IdentityJudge | None,
        sign: int,
        attribute: str,
        same_person: bool = True,
        identity_below: Positive | None = None,
        weight: Positive = 50.0,
    ) -> None:
        if attribute not in judges.names:
            raise ValueError(f"expected an attribute of {', '.join(judges.names)}, found {attribute!r}")
        self.judge, self.place = judges.images, judges.names.index(attribute)
        self.same = Identity(embedder) if same_person else None
        self.below = identity_below or (embedder.below if embedder else 0.0)
        self.penalty, self.starts = sign * weight, same_person

    def __call__(self, items: Sequence[Item], start: Item) -> Scored:
        """Of pictures uint8 (h, w, 3)."""
        with torch.no_grad():
            odds = self.judge(tensor(np.stack(items)))[:, self.place].double().numpy()  # type: ignore[arg-type]
        measures = {"probability": 1 / (1 + np.exp(-odds))}
        if not self.same:
            return Scored(odds, np.ones(len(items), bool), measures)
        apart = self.same(items, start).values
        excess = np.maximum(apart - self.below, 0)
        return Scored(odds - self.penalty * excess, apart < self.below, measures | {"identity": apart})


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
